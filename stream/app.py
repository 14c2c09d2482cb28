"""The composition root of ``unmask watch``: builds the parts a configuration asks for, runs them, closes them all."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from engines.runtime.swappable import RuntimeChange
from stream.board import SceneBoard
from stream.config import AppConfig, Display, StreamConfig
from stream.errors import OutputError, UsageError, WindowLostError
from stream.gst.output import OutputTargets, Restream, VideoOutput
from stream.gst.recording import find_window_sink
from stream.jetson_stats import BoardSampler, open_board_reader
from stream.metrics import Metrics
from stream.observers import FanOut, StreamFacts
from stream.overlay import OverlayStyle
from stream.parts import Parts, build_analysis, build_analyzer, hot_start, open_parts, plan_of
from stream.ports import Observer, Sink
from stream.runner import Runner, RunningStream
from stream.service_notify import ServiceNotify
from stream.sinks.json_lines import JsonLinesSink
from stream.sources.file import FileSource
from stream.sources.live import RetryPolicy
from stream.sources.open import open_source
from stream.sources.uri import SourceUri, parse_source
from stream.types import StreamName, StreamState

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How often the main thread looks up; signals are handled in between."""
SWITCH_INTERVAL_S = 0.001
"""How long one thread may hold the interpreter: Python's 5 ms would show as jitter in the overlaid video."""


@dataclass(frozen=True)
class Started:
    """Told once everything runs."""

    metrics_url: str | None
    restream_urls: tuple[str, ...]


@dataclass(frozen=True)
class Playing:
    """Told once for each stream, when it has played for a moment: what really runs, by GStreamer's names."""

    stream: StreamName
    decoder: str
    encoder: str | None


@dataclass(frozen=True)
class WatchResult:
    """How a watch ended."""

    exit_code: int
    facts: StreamFacts
    failures: tuple[str, ...]
    """One line for each source that could not be read, or not to its end."""


def watch(
    config: AppConfig,
    *,
    stop: threading.Event | None = None,
    sinks: Sequence[Sink] = (),
    observers: Sequence[Observer] = (),
    parts: Parts | None = None,
    on_started: Callable[[Started], None] = lambda _: None,
    on_playing: Callable[[Playing], None] = lambda _: None,
    service: ServiceNotify | None = None,
) -> WatchResult:
    """Watch until the sources end, ``stop`` is set, or the configured duration is over.

    ``sinks`` are fed besides the configured ones and closed here; ``observers`` are told besides the metrics; ``parts``
    are used in place of the configured model and detector, and stay the caller's to close. ``service`` is told when
    everything runs, that the analysis is alive, and when the end begins. Raises UnmaskError before any thread starts
    when the configuration cannot be met, and afterwards when the model is lost; outputs are finished in every case.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with ExitStack() as closing:
        for sink in sinks:
            closing.callback(sink.close)
        run = _Run(config, closing, sinks, observers, parts)
        run.start()
        on_started(run.started)
        run.wait(stop or threading.Event(), on_playing, service or ServiceNotify())
    return run.result()


class _Run:
    """One watch. Everything opened is pushed on ``closing`` at once, so a half-open run is undone."""

    def __init__(
        self,
        config: AppConfig,
        closing: ExitStack,
        sinks: Sequence[Sink],
        observers: Sequence[Observer],
        parts: Parts | None,
    ) -> None:
        self._config = config
        self._closing = closing
        self._facts = StreamFacts()
        self._metrics = Metrics()
        self._observer: Observer = FanOut([self._metrics, self._facts, *observers])
        self._wake = threading.Event()
        self._addresses = [_address(stream) for stream in config.streams]
        _check_sources_survive(config, self._addresses)
        self._parts = parts or self._open_parts()
        self._analyzer = build_analyzer(config, self._parts, self._observer, self._facts)
        self._sinks = [*sinks, *self._json_lines()]
        self._metrics_url = self._serve_metrics()
        self._outputs: dict[StreamName, VideoOutput] = {}
        self._told: set[StreamName] = set()
        self._lost: list[OutputError] = []
        self._has_window = _has_window(config.display)

    @property
    def started(self) -> Started:
        return Started(self._metrics_url, tuple(out.url for out in self._outputs.values() if out.url))

    def start(self) -> None:
        streams = [self._open(*pair) for pair in zip(self._config.streams, self._addresses, strict=True)]
        self._streams = streams
        self._runner = Runner(
            self._analyzer, streams, self._sinks, self._observer, wake=self._wake, on_lost=self._lose_output
        )
        self._closing.callback(self._close_sources)  # last in, first closed: sources, then outputs, then sinks
        self._runner.start()
        self._build_engines()

    def wait(self, stop: threading.Event, on_playing: Callable[[Playing], None], service: ServiceNotify) -> None:
        """Until the first of: all streams over, ``stop``, the duration."""
        service.ready()
        deadline = math.inf if self._config.duration_s is None else time.monotonic() + self._config.duration_s
        while not (stop.is_set() or self._runner.finished.wait(POLL_S) or time.monotonic() >= deadline):
            self._tell_playing(on_playing)
            service.status(_status([stream.state for stream in self._streams]))
            service.alive(self._runner.rounds)
        service.stopping()
        self._runner.stop()
        self._runner.join()

    def _tell_playing(self, on_playing: Callable[[Playing], None]) -> None:
        for stream in self._streams:
            name = stream.source.name
            if name not in self._told and self._facts.fps.get(name):  # a rate is known: it has played for a moment
                self._told.add(name)
                output = self._outputs.get(name)
                on_playing(Playing(name, stream.source.decoder, output.encoder if output is not None else None))

    def result(self) -> WatchResult:
        """Once everything is closed: what finishing a file tells counts too."""
        failures = [stream.failure for stream in self._streams if stream.failure is not None]
        warnings = [stream.source.warning for stream in self._streams if isinstance(stream.source, FileSource)]
        code = OutputError.exit_code if self._lost else 0
        if failures and len(failures) == len(self._streams):
            code = failures[0].exit_code
        told = (*map(str, failures), *(warning for warning in warnings if warning is not None))
        return WatchResult(code, self._facts, told)

    def _lose_output(self, error: OutputError) -> None:
        """Told at once, on the thread that met it; the run goes on."""
        log.error("%s; going on without it", error)
        if not isinstance(error, WindowLostError):
            self._lost.append(error)

    def _open_parts(self) -> Parts:
        parts = open_parts(self._config, on_change=self._tell_runtime)
        self._closing.callback(parts.close)
        return parts

    def _tell_runtime(self, change: RuntimeChange) -> None:
        self._metrics.add_backend(change.model, change.after, change.precision)
        self._observer.runtime_changed(change.model, change.before, change.after, change.reason)

    def _build_engines(self) -> None:
        build = hot_start(self._config, self._parts)
        if build is not None:
            self._closing.callback(build.close)
            build.start()

    def _json_lines(self) -> list[Sink]:
        if self._config.scores is None:
            return []
        sink = JsonLinesSink(self._config.scores)
        self._closing.callback(sink.close)
        return [sink]

    def _serve_metrics(self) -> str | None:
        for stream in self._config.streams:
            self._metrics.add_stream(StreamName(stream.name))
        model = self._parts.model
        self._metrics.add_backend(model.spec.name, self._parts.scorer.backend_name, model.precision)
        self._metrics.add_backend(self._parts.detector.name, self._parts.detector.backend_name)
        if not self._config.metrics.enabled:
            return None
        sampler = BoardSampler(open_board_reader)
        self._closing.callback(sampler.close)
        self._metrics.add_board(sampler.newest)
        server = self._metrics.serve(self._config.metrics.host, self._config.metrics.port)
        self._closing.callback(server.close)
        return server.url

    def _open(self, stream: StreamConfig, uri: SourceUri) -> RunningStream:
        name, board = StreamName(stream.name), SceneBoard()
        plan = plan_of(stream, self._parts.model.spec, is_live=uri.is_live)
        output = self._open_output(stream, uri, board)
        source = open_source(
            name,
            uri,
            observer=self._observer,
            video=output,
            on_frame=self._wake.set,
            retry=_retry(self._config),
        )
        self._closing.callback(source.close)
        return RunningStream(source, build_analysis(self._config, self._parts, name, plan=plan), board)

    def _open_output(self, stream: StreamConfig, uri: SourceUri, board: SceneBoard) -> VideoOutput | None:
        targets = _targets(self._config, stream, has_window=self._has_window)
        if targets.is_empty:
            return None
        output = VideoOutput(
            StreamName(stream.name),
            targets,
            board,
            is_live=uri.is_live,
            observer=self._observer,
            on_error=self._lose_output,
            style=_style(self._config, self._parts),
        )
        self._closing.callback(output.close)
        self._outputs[StreamName(stream.name)] = output
        return output

    def _close_sources(self) -> None:
        self._runner.stop()
        for stream in self._streams:
            stream.source.close()


def _status(states: Sequence[StreamState]) -> str:
    """Such as ``3 streams: 2 playing, 1 reconnecting``."""
    counts = Counter(state.value for state in states)
    told = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{len(states)} stream{'s' if len(states) != 1 else ''}: {told}"


def _address(stream: StreamConfig) -> SourceUri:
    credentials = stream.credentials()
    password = credentials.password.get_secret_value() if credentials.password is not None else None
    return parse_source(stream.address(), transport=stream.transport, user=credentials.user, password=password)


def _check_sources_survive(config: AppConfig, addresses: Sequence[SourceUri]) -> None:
    """Raises UsageError when something would be written over a file that is to be watched."""
    watched = [path for uri in addresses if uri.kind == "file" and (path := Path(uri.location)).exists()]
    written = [config.scores, *(config.save_path(stream) for stream in config.streams)]
    for output in written:
        if output is not None and output.exists() and any(output.samefile(source) for source in watched):
            raise UsageError(f"{output} is a file to watch and would be overwritten: write to another one")


def _has_window(wanted: Display) -> bool:
    """``auto``: a window where one can be opened; insisting on one fails later, in the words of the output."""
    if wanted != "auto":
        return wanted
    try:
        find_window_sink()
    except OutputError:
        log.warning("no display here: watching without a window")
        return False
    return True


def _targets(config: AppConfig, stream: StreamConfig, *, has_window: bool) -> OutputTargets:
    wants_restream = config.restream.enabled and stream.restream
    return OutputTargets(
        display=has_window,
        save=config.save_path(stream),
        restream=Restream(config.restream.host, config.restream.port) if wants_restream else None,
    )


def _style(config: AppConfig, parts: Parts) -> OverlayStyle:
    policy = config.scoring.policy(parts.model.spec)
    return OverlayStyle(policy.fake_at, policy.real_at, config.scoring.stale_after_s)


def _retry(config: AppConfig) -> RetryPolicy:
    retry = config.retry
    return RetryPolicy(first_s=retry.first_s, longest_s=retry.longest_s, stalled_after_s=retry.stalled_after_s)
