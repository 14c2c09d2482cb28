"""The composition root of ``unmask watch``: builds the parts a configuration asks for, runs them, closes them all."""

from __future__ import annotations

import gc
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from engines.runtime.swappable import RuntimeChange
from stream.alerts.open import OpenAlerts, open_alerts
from stream.config import WALL, AppConfig, Display
from stream.errors import OutputError, WindowLostError
from stream.evidence.ports import EvidenceTaker
from stream.evidence_parts import open_evidence
from stream.gst.live_view import LiveView, answering_address
from stream.gst.output import OutputTargets
from stream.gst.recording import find_window_sink
from stream.jetson_stats import BoardSampler, open_board_reader
from stream.live_streams import LiveStreams, Shared, check_request, restream_of, style_of
from stream.lookout import Lookout, Playing
from stream.metrics import Metrics
from stream.observers import FanOut, StreamFacts
from stream.parts import Parts, build_analyzer, hot_start, open_parts
from stream.ports import Observer, Sink
from stream.reload import Reload
from stream.runner import Runner
from stream.service_notify import ServiceNotify
from stream.sinks.json_lines import JsonLinesSink
from stream.types import BoardReading
from stream.vouching import OpenCanary, open_canary, open_log
from stream.wall.open import OpenWall, open_wall
from stream.web.ports import Readiness
from stream.web.scenes import SceneHub
from stream.web.services import WebServices, engine_facts

if TYPE_CHECKING:
    from stream.web.open import OpenWeb

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
    model: str
    """What scores faces, on which runtime, and why on that one: one line."""
    log: str
    """Where the log lies and whose signature it carries; empty when none is kept."""
    streams: LiveStreams
    """Streams are listed, added, changed and removed through it while the watch runs, from any thread."""
    evidence: EvidenceTaker | None = None
    """What keeps evidence of alerts; None when nothing is kept."""
    page_url: str | None = None
    """Of the live page."""


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
    reload: Reload | None = None,
) -> WatchResult:
    """Watch until the sources end, ``stop`` is set, or the configured duration is over.

    ``sinks`` are fed besides the configured ones and closed here; ``observers`` are told besides the metrics; ``parts``
    are used in place of the configured model and detector, and stay the caller's to close. ``service`` is told when
    everything runs, that the analysis is alive, and when the end begins; ``reload`` is followed when it is asked to.
    Raises UnmaskError before any thread starts when the configuration cannot be met, and afterwards when the model is
    lost; outputs are finished in every case.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with ExitStack() as closing:
        for sink in sinks:
            closing.callback(sink.close)
        run = _Run(config, closing, sinks, observers, parts)
        run.start()
        on_started(run.started)
        run.wait(stop or threading.Event(), on_playing, service or ServiceNotify(), reload)
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
        check_request(config)
        self._restream = restream_of(config.restream)
        self._parts = parts or self._open_parts()
        self._readiness = Readiness()
        self._log = open_log(config, self._parts, self._readiness)
        closing.callback(self._log.close)
        self._keeper = open_evidence(config, self._parts, self._metrics, closing, self._log.record)
        self._analyzer = build_analyzer(config, self._parts, self._observer, self._facts, self._keeper)
        self._hub = SceneHub()
        self._readiness.set("engines", is_met=True, why="loaded")
        self._runtime_changes: dict[str, RuntimeChange] = {}
        self._board: Callable[[], BoardReading | None] = lambda: None
        self._alerts = self._open_alerts()
        self._canary = self._open_canary()
        self._sinks = self._all_sinks(sinks)
        self._metrics_url = self._serve_metrics()
        self._lost: list[OutputError] = []
        self._runner = self._new_runner()
        self._view = self._open_view()
        self._streams = self._live_streams()
        self._web = self._open_web()

    @property
    def started(self) -> Started:
        urls = [stream.url for stream in self._streams.list()] + ([self._wall.output.url] if self._wall else [])
        model = f"{self._parts.model.spec.name} on {self._parts.model.why or self._parts.scorer.backend_name}"
        served = tuple(url for url in urls if url is not None)
        page = self._web.url if self._web is not None else None
        return Started(self._metrics_url, served, model, self._log.where, self._streams, self._keeper, page)

    def start(self) -> None:
        self._spare_the_collector()
        self._closing.callback(self._close_streams)  # last in, first closed: sources, then outputs, then sinks
        self._streams.start()
        self._alerts.start(lambda: {stream.name: stream.state for stream in self._streams.list()})
        self._runner.start()
        self._canary.start()
        self._build_engines()
        if self._web is not None:
            self._closing.callback(self._web.close)  # before anything that it shows
            self._web.start()
        if self._config.display == "auto" and not self._has_window:
            log.warning("no display here: watching without a window")  # last: an error before it is one line

    def _spare_the_collector(self) -> None:
        """What was opened stays to the end, so no collection need look at it while video runs.

        A full one holds every thread up, 40-50 ms for what an idle watch has loaded, more beside other programs. It is
        the process's: of two watches in one, the first to end gives the other's back to the collector: time, no more.
        """
        gc.collect()
        gc.freeze()
        self._closing.callback(gc.unfreeze)

    def wait(
        self,
        stop: threading.Event,
        on_playing: Callable[[Playing], None],
        service: ServiceNotify,
        reload: Reload | None,
    ) -> None:
        """Until the first of: all streams over, ``stop``, the duration."""
        lookout = Lookout(self._readiness, on_playing, service)
        service.ready()
        deadline = math.inf if self._config.duration_s is None else time.monotonic() + self._config.duration_s
        while not (stop.is_set() or self._runner.finished.wait(POLL_S) or time.monotonic() >= deadline):
            lookout.look(self._streams.list())
            service.alive(self._runner.rounds)
            if reload is not None:
                reload.poll(self._config, self._streams)
        service.stopping()
        self._runner.stop()
        self._runner.join()

    def result(self) -> WatchResult:
        """Once everything is closed: what finishing a file tells counts too."""
        failures = self._streams.failures
        code = OutputError.exit_code if self._lost else 0
        if failures and len(failures) == len(self._streams.list()):
            code = failures[0].exit_code
        return WatchResult(code, self._facts, (*map(str, failures), *self._streams.warnings))

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
        self._runtime_changes[change.model] = change
        self._metrics.add_backend(change.model, change.after, change.precision)
        self._observer.runtime_changed(change.model, change.before, change.after, change.reason)
        self._log.record("runtime", {**asdict(change)})
        self._canary.runtime_changed()

    def _build_engines(self) -> None:
        build = hot_start(self._config, self._parts)
        if build is not None:
            self._closing.callback(build.close)
            build.start()

    def _all_sinks(self, given: Sequence[Sink]) -> list[Sink]:
        """Who gets every scene, in order: evidence before the rules that may ask for it."""
        sinks = [*given, *self._json_lines()]
        if self._keeper is not None:
            sinks.append(self._keeper)
        sinks.append(self._alerts.sink)
        if self._config.web.enabled:
            sinks.append(self._hub)
        return sinks

    def _new_runner(self) -> Runner:
        return Runner(
            self._analyzer,
            (),
            self._sinks,
            self._observer,
            wake=self._wake,
            on_lost=self._lose_output,
            between=self._canary.step,
        )

    def _json_lines(self) -> list[Sink]:
        if self._config.scores is None:
            return []
        sink = JsonLinesSink(self._config.scores)
        self._closing.callback(sink.close)
        return [sink]

    def _open_alerts(self) -> OpenAlerts:
        opened = open_alerts(
            self._config.alerts,
            self._metrics,
            streams=[stream.name for stream in self._config.streams],
            evidence=self._keeper,
            record=self._log.record,
        )
        if self._keeper is not None:
            opened.subscribe(self._keeper)
        self._closing.callback(opened.close)
        return opened

    def _open_canary(self) -> OpenCanary:
        opened = open_canary(
            self._config,
            self._parts,
            self._readiness,
            show=self._metrics.show_canary,
            record=self._log.record,
            alert=self._alerts.raise_alert,
        )
        self._closing.callback(opened.close)
        return opened

    def _serve_metrics(self) -> str | None:
        model = self._parts.model
        self._metrics.add_backend(model.spec.name, self._parts.scorer.backend_name, model.precision)
        detector = self._parts.detector
        self._metrics.add_backend(detector.name, detector.backend_name, detector.precision)
        if not self._config.metrics.enabled:
            return None
        sampler = BoardSampler(open_board_reader)
        self._closing.callback(sampler.close)
        self._board = sampler.newest
        self._metrics.add_board(sampler.newest)
        server = self._metrics.serve(self._config.metrics.host, self._config.metrics.port)
        self._closing.callback(server.close)
        return server.url

    def _open_view(self) -> LiveView | None:
        if not self._config.web.enabled:
            return None
        view = LiveView(answering_address(self._config.web.host), self._config.web.clients_most)
        self._closing.callback(view.close)
        return view

    def _open_web(self) -> OpenWeb | None:
        if not self._config.web.enabled:
            return None
        from stream.web.open import open_web  # the server's packages, for those who want one

        policy = self._config.scoring.policy(self._parts.model.spec)
        services = WebServices(
            self._streams,
            self._hub,
            self._metrics,
            self._readiness,
            engines=lambda: engine_facts(self._parts, self._facts, self._runtime_changes),
            board=self._board,
            evidence=self._config.evidence.folder,
            video=self._view,
            thresholds=(policy.real_at, policy.fake_at),
        )
        opened = open_web(self._config.web, services)
        self._closing.callback(opened.close)
        self._alerts.subscribe(opened.alerts)
        return opened

    def _open_wall(self, *, has_window: bool) -> OpenWall | None:
        wall = self._config.wall
        if not wall.enabled:
            return None
        targets = OutputTargets(has_window, wall.save, self._restream if wall.restream else None)
        style = style_of(self._config, self._parts)
        opened = open_wall(WALL, targets, wall.size, wall.fps, style, self._lose_output)
        self._closing.callback(opened.close)
        return opened

    def _live_streams(self) -> LiveStreams:
        has_window = self._has_window = _has_window(self._config.display)
        self._wall = self._open_wall(has_window=has_window)
        shared = Shared(
            self._parts,
            self._runner,
            self._observer,
            self._facts,
            self._metrics,
            on_frame=self._wake.set,
            on_lost=self._lose_output,
            has_window=has_window and self._wall is None,
            restream=self._restream,
            wall=self._wall.wall if self._wall is not None else None,
            keeper=self._keeper,
            viewers=self._view,
        )
        return LiveStreams(self._config, shared)

    def _close_streams(self) -> None:
        self._runner.stop()
        self._streams.close()


def _has_window(wanted: Display) -> bool:
    """``auto``: a window where one can be opened; insisting on one fails later, in the words of the output."""
    if wanted != "auto":
        return wanted
    try:
        find_window_sink()
    except OutputError:
        return False
    return True
