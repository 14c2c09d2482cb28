"""The composition root of ``unmask watch``: builds the parts a configuration asks for, runs them, closes them all."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stream.board import SceneBoard
from stream.config import AppConfig, Display, StreamConfig
from stream.errors import OutputError, SourceError, UsageError
from stream.gst.output import OutputTargets, Restream, VideoOutput
from stream.gst.recording import find_window_sink
from stream.metrics import Metrics
from stream.observers import FanOut, StreamFacts
from stream.overlay import OverlayStyle
from stream.parts import Parts, build_analysis, build_analyzer, open_parts
from stream.ports import Observer, Sink
from stream.runner import Runner, RunningStream
from stream.sinks.json_lines import JsonLinesSink
from stream.sources.live import RetryPolicy
from stream.sources.open import open_source
from stream.sources.uri import SourceUri, parse_source
from stream.types import StreamName

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.001
"""How long one thread may hold the interpreter: Python's 5 ms would show as jitter in the overlaid video."""


@dataclass(frozen=True)
class Started:
    """Told once everything runs."""

    metrics_url: str | None
    restream_urls: tuple[str, ...]


@dataclass(frozen=True)
class WatchResult:
    """How a watch ended."""

    exit_code: int
    facts: StreamFacts
    failures: tuple[str, ...]
    """One line for each source that could not be read."""


def watch(
    config: AppConfig,
    *,
    stop: threading.Event | None = None,
    sinks: Sequence[Sink] = (),
    observers: Sequence[Observer] = (),
    parts: Parts | None = None,
    on_started: Callable[[Started], None] = lambda _: None,
) -> WatchResult:
    """Watch until the sources end, ``stop`` is set, or the configured duration is over.

    ``sinks`` are fed besides the configured ones and closed here; ``observers`` are told besides the metrics; ``parts``
    are used in place of the configured model and detector, and stay the caller's to close. Raises UnmaskError before
    any thread starts when the configuration cannot be met, and afterwards when the model is lost; outputs are finished
    in every case.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with ExitStack() as closing:
        for sink in sinks:
            closing.callback(sink.close)
        run = _Run(config, closing, sinks, observers, parts)
        run.start()
        on_started(run.started)
        return run.wait(stop or threading.Event())


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
        self._outputs: list[VideoOutput] = []
        self._has_window = _has_window(config.display)

    @property
    def started(self) -> Started:
        return Started(self._metrics_url, tuple(out.url for out in self._outputs if out.url))

    def start(self) -> None:
        streams = [self._open(*pair) for pair in zip(self._config.streams, self._addresses, strict=True)]
        self._streams = streams
        self._runner = Runner(self._analyzer, streams, self._sinks, self._observer, wake=self._wake)
        self._closing.callback(self._close_sources)  # last in, first closed: sources, then outputs, then sinks
        self._runner.start()

    def wait(self, stop: threading.Event) -> WatchResult:
        """Until the first of: all streams over, ``stop``, the duration."""
        _wait_any(stop, self._runner.finished, self._config.duration_s)
        self._runner.stop()
        self._runner.join()
        failures = tuple(str(stream.failure) for stream in self._streams if stream.failure is not None)
        all_failed = bool(failures) and len(failures) == len(self._streams)
        return WatchResult(SourceError.exit_code if all_failed else 0, self._facts, failures)

    def _open_parts(self) -> Parts:
        parts = open_parts(self._config)
        self._closing.callback(parts.close)
        return parts

    def _json_lines(self) -> list[Sink]:
        if self._config.scores is None:
            return []
        sink = JsonLinesSink(self._config.scores)
        self._closing.callback(sink.close)
        return [sink]

    def _serve_metrics(self) -> str | None:
        for stream in self._config.streams:
            self._metrics.add_stream(StreamName(stream.name))
        self._metrics.add_backend(self._parts.model.spec.name, self._parts.scorer.backend_name)
        if not self._config.metrics.enabled:
            return None
        server = self._metrics.serve(self._config.metrics.host, self._config.metrics.port)
        self._closing.callback(server.close)
        return server.url

    def _open(self, stream: StreamConfig, uri: SourceUri) -> RunningStream:
        name, board = StreamName(stream.name), SceneBoard()
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
        return RunningStream(source, build_analysis(self._config, self._parts, name), board)

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
            on_error=lambda error: log.error("%s; going on without it", error),
            style=_style(self._config, self._parts),
        )
        self._closing.callback(output.close)
        self._outputs.append(output)
        return output

    def _close_sources(self) -> None:
        self._runner.stop()
        for stream in self._streams:
            stream.source.close()


def _address(stream: StreamConfig) -> SourceUri:
    credentials = stream.credentials()
    password = credentials.password.get_secret_value() if credentials.password is not None else None
    return parse_source(stream.address(), transport=stream.transport, user=credentials.user, password=password)


def _check_sources_survive(config: AppConfig, addresses: Sequence[SourceUri]) -> None:
    """Raises UsageError when something would be written over a file that is to be watched."""
    watched = [path for uri in addresses if uri.kind == "file" and (path := Path(uri.location)).exists()]
    written = [config.scores, *(config.save_path(stream) for stream in config.streams)]
    for path in written:
        if path is not None and path.exists() and any(path.samefile(source) for source in watched):
            raise UsageError(f"{path} is a file to watch and would be overwritten: write to another one")


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


def _wait_any(stop: threading.Event, finished: threading.Event, seconds: float | None) -> None:
    """Until ``stop``, ``finished`` or the time is over; short waits, so that signals are handled in between."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while not stop.is_set() and not finished.is_set():
        if deadline is not None and time.monotonic() >= deadline:
            return
        finished.wait(0.1)
