"""The streams of a run, added, changed and removed while it runs: each with its source, output, memory and metrics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from stream.board import SceneBoard
from stream.config import AppConfig, StreamConfig
from stream.config_restream import RestreamConfig
from stream.errors import OutputError, TooManyStreamsError, UnmaskError, UsageError
from stream.evidence.keeper import EvidenceKeeper
from stream.gst.live_view import LiveView
from stream.gst.output import OutputTargets, Restream, VideoOutput
from stream.gst.packet_ring import PacketRing
from stream.gst.rtsp_restream import RestreamGuard
from stream.gst.session import VideoTap
from stream.metrics import Metrics
from stream.observers import StreamFacts
from stream.overlay import OverlayStyle
from stream.parts import Parts, build_analysis, plan_of
from stream.pipeline import StreamAnalysis
from stream.ports import Observer
from stream.roster import RunningStream
from stream.runner import Runner
from stream.scheduling.plan import StreamPlan
from stream.sources.file import FileSource
from stream.sources.live import LiveSource, RetryPolicy
from stream.sources.open import open_source
from stream.sources.taps import Taps
from stream.sources.uri import SourceUri, parse_source
from stream.types import Scene, StreamName, StreamState
from stream.wall.wall import Wall

log = logging.getLogger(__name__)

MAY_BE_RAW = ("webcam", "screen", "csi", "test")
"""Kinds of live sources that may send raw video."""


@dataclass(frozen=True)
class Shared:
    """What all streams of a run have in common."""

    parts: Parts
    runner: Runner
    observer: Observer
    facts: StreamFacts
    metrics: Metrics
    on_frame: Callable[[], None]
    """Called by sources when a frame can be read."""
    on_lost: Callable[[OutputError], None]
    """Told of an output that failed, on the thread that met it."""
    has_window: bool
    """Whether each stream has a window."""
    restream: Restream | None = None
    """Where the drawn video of streams that say so is served; None: nowhere."""
    wall: Wall | None = None
    """Where each stream has a tile."""
    keeper: EvidenceKeeper | None = None
    """What keeps evidence, and the newest encoded pictures of live streams for it."""
    viewers: LiveView | None = None
    """Who may come and watch; None: nobody may."""


@dataclass(frozen=True)
class StreamStatus:
    """What is known of one stream at one moment, without secrets."""

    name: StreamName
    source: str
    """Without user, password and query."""
    state: StreamState
    last_error: str | None
    """Why it does not play, in one line; None when nothing is wrong."""
    fps: float
    """Measured; 0: not known."""
    decoder: str | None
    """GStreamer's name of the decoder that runs; None: nothing was decoded yet."""
    encoder: str | None
    """Of its overlaid video; None when nothing is encoded."""
    url: str | None
    """Where its overlaid video is served."""


@dataclass(frozen=True)
class StreamChanges:
    """Names of the streams that came, that were opened again, and that went."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Order:
    """A stream that is to be opened, with all that can be known of it before."""

    stream: StreamConfig
    uri: SourceUri
    plan: StreamPlan

    @property
    def name(self) -> StreamName:
        return StreamName(self.stream.name)


@dataclass(frozen=True)
class _Open:
    """A stream that runs."""

    order: _Order
    running: RunningStream
    output: VideoOutput | None

    def close(self) -> None:
        self.running.source.close()
        if self.output is not None:
            self.output.close()

    @property
    def last_error(self) -> str | None:
        if self.running.failure is not None:
            return str(self.running.failure)
        source = self.running.source
        return source.last_error if isinstance(source, LiveSource) else getattr(source, "warning", None)


@dataclass(frozen=True)
class _Shut:
    """A stream that could not be opened."""

    order: _Order
    error: UnmaskError


class LiveStreams:
    """May be called from any thread; one change is met at a time, and ``list`` waits for none.

    A bad request raises UsageError and changes nothing. A source or an output that cannot be opened is no bad request:
    the stream is listed as failed, with the reason, until it is changed or removed. No change disturbs another stream.
    """

    def __init__(self, config: AppConfig, shared: Shared) -> None:
        self._config, self._shared = config, shared
        self._lock = threading.Lock()
        self._entries: Mapping[StreamName, _Open | _Shut] = {}
        """Never changed, only replaced: readers need no lock."""
        self._is_closed = False

    def start(self) -> None:
        """Open all configured streams. Raises UnmaskError when one cannot be; ``close`` undoes the others."""
        with self._lock:
            for order in [self._order(stream) for stream in self._config.streams]:
                self._shared.metrics.add_stream(order.name)
                self._enter(self._opened(order, None))

    def list(self) -> tuple[StreamStatus, ...]:
        """Every stream, in the order they came."""
        return tuple(self._status(entry) for entry in self._entries.values())

    def described(self, name: str) -> StreamConfig | None:
        """As it was asked for, secrets and all; None when there is none of this name."""
        entry = self._entries.get(StreamName(name))
        return None if entry is None else entry.order.stream

    def add(self, stream: StreamConfig, most: int | None = None) -> StreamStatus:
        """Watch one more; without a name it gets one. Raises TooManyStreamsError where there would be over ``most``."""
        with self._lock:
            if most is not None and len(self._entries) >= most:
                raise TooManyStreamsError(f"{len(self._entries)} streams are watched, and no more may be: remove one")
            wanted = self._config.with_streams([*self._config.streams, stream])
            self._meet(wanted)
            return self._status(self._entries[StreamName(wanted.streams[-1].name)])

    def change(self, stream: StreamConfig) -> StreamStatus:
        """Close the stream of this name and open it as it is described now; face numbers and counts go on.

        Its recording and its RTSP clients stay, unless where its video goes is what changes.
        """
        with self._lock:
            self._known(stream.name)
            others = (stream if known.name == stream.name else known for known in self._config.streams)
            self._meet(self._config.with_streams(list(others)), again=(stream.name,))
            return self._status(self._entries[StreamName(stream.name)])

    def remove(self, name: str) -> None:
        """Watch it no more: its recording is finished, its threads, descriptors and series are gone."""
        with self._lock:
            self._known(name)
            self._meet(self._config.with_streams([known for known in self._config.streams if known.name != name]))

    def replace(self, streams: Sequence[StreamConfig]) -> StreamChanges:
        """Make these the streams of the run. One that stays as it is does not miss a frame; a failed one is tried."""
        with self._lock:
            return self._meet(self._config.with_streams(streams), again=self._entries)

    def close(self) -> None:
        """Close all: the sources first, then the outputs."""
        with self._lock:
            self._is_closed = True
            opened = [entry for entry in self._entries.values() if isinstance(entry, _Open)]
            with ExitStack() as closing:
                for entry in opened:
                    closing.callback(entry.close)
                for entry in reversed(opened):
                    closing.callback(entry.running.source.close)

    @property
    def failures(self) -> tuple[UnmaskError, ...]:
        """Why streams that failed did, one each."""
        found = (e.error if isinstance(e, _Shut) else e.running.failure for e in self._entries.values())
        return tuple(error for error in found if error is not None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong with files that could be played in part."""
        sources = (e.running.source for e in self._entries.values() if isinstance(e, _Open))
        told = (source.warning for source in sources if isinstance(source, FileSource))
        return tuple(warning for warning in told if warning is not None)

    # One change, under the lock

    def _meet(self, wanted: AppConfig, again: Container[str] = ()) -> StreamChanges:
        """Nothing changes before all that can be wrong with the request was looked at.

        ``again``: names of those to be tried again where they have failed; the others stay as they are.
        """
        if self._is_closed:
            raise UsageError("the run is over: start another one to watch more")
        check_request(wanted)
        orders = [self._order(stream) for stream in wanted.streams]
        changes = self._changes(orders, again)
        self._config = wanted
        for name in changes.removed:
            self._remove(StreamName(name))
        for order in orders:
            if order.name in (*changes.added, *changes.changed):
                self._put(order)
        return changes

    def _changes(self, orders: Sequence[_Order], again: Container[str]) -> StreamChanges:
        before, names = self._entries, {order.name for order in orders}
        return StreamChanges(
            tuple(order.name for order in orders if order.name not in before),
            tuple(order.name for order in orders if order.name in before and not self._is_met(order, again)),
            tuple(name for name in before if name not in names),
        )

    def _is_met(self, order: _Order, again: Container[str]) -> bool:
        """The address counts too: a password file may hold another password now."""
        entry = self._entries[order.name]
        has_failed = isinstance(entry, _Shut) or entry.running.state is StreamState.FAILED
        return entry.order == order and not (has_failed and order.name in again)

    def _put(self, order: _Order) -> None:
        """Open a stream in place of one of its name; the run goes on meanwhile even if all others are over."""
        shared, before = self._shared, self._entries.get(order.name)
        shared.metrics.add_stream(order.name)
        with shared.runner.roster.held_open():
            try:
                entry: _Open | _Shut = (
                    self._reopened(before, order) if isinstance(before, _Open) else self._opened(order)
                )
            except UnmaskError as error:
                log.error("stream %s cannot be watched: %s", order.name, error)
                shared.observer.stream_state(order.name, StreamState.FAILED)
                entry = _Shut(order, error)
                self._hang(order.name, SceneBoard(Scene(order.name, state=StreamState.FAILED)))
            self._enter(entry)

    def _enter(self, entry: _Open | _Shut) -> None:
        self._entries = {**self._entries, entry.order.name: entry}
        if isinstance(entry, _Open):
            self._shared.runner.roster.bring_in(entry.running)

    def _remove(self, name: StreamName) -> None:
        entry = self._entries[name]
        self._entries = {other: kept for other, kept in self._entries.items() if other != name}
        if isinstance(entry, _Open):
            self._shut_down(entry)
        if self._shared.wall is not None:
            self._shared.wall.take_down(name)
        if self._shared.keeper is not None:
            self._shared.keeper.forget(name)
        if self._shared.viewers is not None:
            self._shared.viewers.forget(name)
        self._shared.metrics.remove_stream(name)

    def _shut_down(self, entry: _Open) -> None:
        keeper, name = self._shared.keeper, entry.order.name
        forget = (lambda: keeper.forget_sights(name)) if keeper is not None else lambda: None
        self._shared.runner.roster.take_out(entry.running, afterwards=forget)
        entry.close()
        self._shared.facts.forget_rate(entry.order.name)

    def _reopened(self, before: _Open, order: _Order) -> _Open:
        """Another source in the place of one; its output stays where it does the same."""
        has_left = self._shared.runner.roster.take_out(before.running)
        before.running.source.close()
        self._shared.facts.forget_rate(order.name)
        keeps = before.output is not None and self._how(before.order) == self._how(order)
        if before.output is not None and not keeps:
            before.output.close()
        return self._opened(order, before, remembers=has_left, keeps=keeps)

    def _how(self, order: _Order) -> tuple[OutputTargets, bool]:
        """All that an output depends on."""
        return self._targets(order), order.uri.is_live

    def _targets(self, order: _Order) -> OutputTargets:
        viewers = None if self._shared.viewers is None else self._shared.viewers.of(order.name)
        return OutputTargets(
            display=self._shared.has_window,
            save=self._config.save_path(order.stream),
            restream=self._shared.restream if order.stream.restream else None,
            viewers=viewers,
        )

    def _known(self, name: str) -> None:
        if name not in self._entries:
            told = ", ".join(self._entries) or "none"
            raise UsageError(f"no stream is named {name}: there are {told}")

    # Opening

    def _order(self, stream: StreamConfig) -> _Order:
        uri = address_of(stream)
        return _Order(stream, uri, plan_of(stream, self._shared.parts.model.spec, is_live=uri.is_live))

    def _opened(
        self, order: _Order, before: _Open | None = None, *, remembers: bool = False, keeps: bool = False
    ) -> _Open:
        """Raises UnmaskError and leaves nothing open when a part of it cannot be.

        ``remembers``: the analysis has let go of what it knew of ``before``. ``keeps``: its output goes on.
        """
        board, shared = before.running.board if before is not None else SceneBoard(), self._shared
        with ExitStack() as undo:
            output = before.output if before is not None and keeps else self._open_output(order, board)
            if output is not None:
                undo.callback(output.close)
            ring, raw = self._packets(order)
            source = open_source(
                order.name,
                order.uri,
                observer=shared.observer,
                video=Taps.of(output, self._hang(order.name, board), raw),
                on_frame=shared.on_frame,
                retry=_retry(self._config),
                packets=ring,
            )
            undo.pop_all()
        analysis = self._analysis(order, before.running.analysis if before is not None and remembers else None)
        return _Open(order, RunningStream(source, analysis, board), output)

    def _packets(self, order: _Order) -> tuple[PacketRing | None, VideoTap | None]:
        """Where evidence keeps the newest pictures of a live source, encoded and decoded."""
        keeper = self._shared.keeper
        if keeper is None or not order.uri.is_live:
            return None, None
        return keeper.packets(order.name, may_be_raw=order.uri.kind in MAY_BE_RAW)

    def _hang(self, name: StreamName, scenes: SceneBoard) -> VideoTap | None:
        """The stream's tile on the wall, if there is one."""
        return None if self._shared.wall is None else self._shared.wall.hang(name, scenes)

    def _analysis(self, order: _Order, memory: StreamAnalysis | None) -> StreamAnalysis:
        """A changed stream begins a segment afresh and goes on counting faces: no number is used twice."""
        if memory is None:
            return build_analysis(self._config, self._shared.parts, order.name, plan=order.plan)
        return replace(memory, plan=order.plan, segment=None, looked=None)

    def _open_output(self, order: _Order, board: SceneBoard) -> VideoOutput | None:
        targets = self._targets(order)
        if targets.is_empty:
            return None
        return VideoOutput(
            order.name,
            targets,
            board,
            is_live=order.uri.is_live,
            observer=self._shared.observer,
            on_error=self._shared.on_lost,
            style=style_of(self._config, self._shared.parts),
        )

    def _status(self, entry: _Open | _Shut) -> StreamStatus:
        order, redacted = entry.order, entry.order.uri.redacted()
        if isinstance(entry, _Shut):
            return StreamStatus(order.name, redacted, StreamState.FAILED, str(entry.error), 0.0, None, None, None)
        source, output = entry.running.source, entry.output
        return StreamStatus(
            order.name,
            redacted,
            entry.running.state,
            entry.last_error,
            self._shared.facts.fps.get(order.name, 0.0),
            source.decoder,
            output.encoder if output is not None else None,
            output.url if output is not None else None,
        )


def address_of(stream: StreamConfig) -> SourceUri:
    """A configured source with its secrets. Raises UsageError when one is not there, or the address is none."""
    credentials = stream.credentials()
    password = credentials.password.get_secret_value() if credentials.password is not None else None
    return parse_source(stream.address(), transport=stream.transport, user=credentials.user, password=password)


def check_request(config: AppConfig) -> None:
    """Raises UsageError when an address is none, or when something would be written over a file to be watched."""
    addresses = [address_of(stream) for stream in config.streams]
    watched = [path for uri in addresses if uri.kind == "file" and (path := Path(uri.location)).exists()]
    written = [config.scores, config.wall.save, *(config.save_path(stream) for stream in config.streams)]
    for output in written:
        if output is not None and output.exists() and any(output.samefile(source) for source in watched):
            raise UsageError(f"{output} is a file to watch and would be overwritten: write to another one")


def style_of(config: AppConfig, parts: Parts) -> OverlayStyle:
    """Numbers that the drawing needs."""
    policy = config.scoring.policy(parts.model.spec)
    return OverlayStyle(policy.fake_at, policy.real_at, config.scoring.stale_after_s)


def restream_of(config: RestreamConfig) -> Restream | None:
    """Where it is served and for whom, with the secrets read; None: nowhere. Raises UsageError and OutputError."""
    if not config.enabled:
        return None
    user, password = config.credentials() or (None, None)
    tls = config.tls
    guard = RestreamGuard(user, password, *((tls.certificate, tls.key) if tls is not None else ()))
    guard.check()
    return Restream(config.host, config.port, guard=guard)


def _retry(config: AppConfig) -> RetryPolicy:
    retry = config.retry
    return RetryPolicy(first_s=retry.first_s, longest_s=retry.longest_s, stalled_after_s=retry.stalled_after_s)
