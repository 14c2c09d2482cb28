"""Prometheus metrics of the live path: the only door to prometheus_client. docs/metrics.md lists them all.

Every label comes from a closed set: the streams named by ``add_stream``, the models and backends named by
``add_backend``, and the tables below. Anything else is counted as ``other``, so a typo or a hostile name can neither
grow the series without end nor carry an address or a password. Series start at 0.
"""

from __future__ import annotations

import math
import platform
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    make_wsgi_app,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer

from stream.alerts.alert import Alert, AlertKind, AlertState
from stream.errors import OutputError
from stream.release import release
from stream.scheduling.sampling import SkipReason
from stream.types import SOURCE_REASONS, BoardReading, FaceScore, QualityReason, StreamName, StreamState, Verdict

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 9108
SILENT_S = 30.0
"""How long a scraper may neither send nor take anything before it is hung up on."""
OTHER = "other"
STANDS_IN = "onnxruntime-cpu"
"""What takes over from a runtime that fails: that change is at 0 from the start."""
LATENCY_STAGES = ("decode", "detect", "embed", "head", "overlay", "e2e")
DROP_STAGES = ("analysis", "video")
DROP_REASONS = ("newer_frame", "turn", "error")
QUALITY_REASONS = tuple(reason.value for reason in QualityReason)
SKIP_REASONS = tuple(reason.value for reason in SkipReason)
STREAM_ALERTS = tuple(kind.value for kind in AlertKind if kind not in (AlertKind.CANARY, AlertKind.TEST))
SERVICE_ALERTS = (AlertKind.CANARY.value,)
"""Of no stream: its label is empty."""
DELIVERY_OUTCOMES = ("delivered", "failed", "refused", "dropped")
VERDICTS = tuple(verdict.value.replace(" ", "_") for verdict in Verdict)

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""From a drawn overlay (0.3 ms) to a stalled camera."""
PROBABILITIES = tuple(step / 10 for step in range(1, 11))
CANARY_CLIPS = ("genuine", "swapped")
RUNTIME_REASONS = ("built", "failed")
BATCHES = (1, 2, 4, 8, 16, 32, 64)
WEB_CODES = (
    "200", "201", "204", "206", "304", "400", "401", "403", "404", "405", "408", "409", "413", "415", "416", "422",
    "429", "500", "503",
)  # fmt: skip
"""Of answers; others are counted as ``other``."""

_no_created_series: Callable[[], None] = disable_created_metrics
"""The library's own function has no types."""
_PLAIN_NAME = re.compile(r"[\w .-]{1,64}")
"""What a label may look like: no URL, no user@host, no path."""


_Key = tuple[Counter | Gauge, tuple[str, ...]]
"""A metric and the labels of one of its series."""


class Metrics:
    """An Observer that counts. Safe from any thread; each event costs microseconds and never raises."""

    def __init__(
        self, registry: CollectorRegistry | None = None, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """``registry``: None makes a fresh one. ``wall_clock``: seconds since the Unix epoch."""
        self.registry = registry or CollectorRegistry()
        _no_created_series()  # a time stamp beside every counter doubles a scrape and tells nobody anything
        self._wall_clock = wall_clock
        self._streams: Mapping[str, Mapping[_Key, Any]] = {}
        """The series of each, made once: an event that comes late, of a stream that is being removed, makes none anew.

        Never changed, only replaced: events need no lock.
        """
        self._canary: tuple[Gauge, Gauge] | None = None
        self._backends: dict[tuple[str, str], str] = {}
        """(model, backend) -> precision."""
        self._alert_sinks: set[str] = set()
        self._firing_guard, self._firing = threading.Lock(), dict[str, Alert]()
        """By id; bounded, for every alert that fires resolves."""
        self._add_stream_series()
        self._add_frame_series()
        self._add_face_series()
        self._add_sampling_series()
        self._add_inference_series()
        self._add_web_series()
        self._add_alert_series()
        self._add_evidence_series()
        self._add_process_series()

    def add_stream(self, stream: StreamName) -> None:
        """Name a stream of this run: its series exist from now on, at 0; a known one's go on."""
        if stream in self._streams or not _PLAIN_NAME.fullmatch(stream):
            return
        series = {(metric, labels): metric.labels(*labels) for metric, labels in self._series_of(stream)}
        self._streams = {**self._streams, stream: series}

    def remove_stream(self, stream: StreamName) -> None:
        """Its series are gone from now on; what is still told of it is counted as ``other``."""
        if stream in self._streams:
            self._streams = {name: series for name, series in self._streams.items() if name != stream}
            for metric, labels in self._series_of(stream):
                metric.remove(*labels)

    def _series_of(self, stream: str) -> Iterator[_Key]:
        """(metric, labels) of every series that a stream has."""
        for plain in (self._last_frame, self._source_fps, self._faces, self._sampling, self._frames, self._damaged):
            yield plain, (stream,)
        yield from ((self._state, (stream, state.value)) for state in StreamState)
        yield from ((self._drops, (stream, stage, reason)) for stage in DROP_STAGES for reason in DROP_REASONS)
        yield from ((self._reconnects, (stream, reason)) for reason in SOURCE_REASONS)
        yield from ((self._rejected, (stream, reason)) for reason in QUALITY_REASONS)
        yield from ((self._skipped, (stream, reason)) for reason in SKIP_REASONS)
        yield from ((self._windows, (stream, verdict)) for verdict in VERDICTS)
        yield from (
            (metric, (stream, kind)) for metric in (self._alerts, self._alerts_firing) for kind in STREAM_ALERTS
        )

    def add_backend(self, model: str, backend: str, precision: str = "fp32") -> None:
        """Name a graph that runs (``lite0-gru``, ``centerface``, …) and what runs it."""
        if not all(_PLAIN_NAME.fullmatch(value) for value in (model, backend, precision)):
            return
        known = self._backends.get((model, backend))
        if known not in (None, precision):  # another engine of the same runtime
            self._backend_info.labels(model, backend, known).set(0)
        self._backends[model, backend] = precision
        self._backend_info.labels(model, backend, precision).set(1)
        for metric in (self._inference_s, self._batch_size, self._inference_errors):
            metric.labels(model, backend)
        if backend != STANDS_IN:
            self._runtime_changes.labels(model, backend, STANDS_IN, "failed")

    def expect_alerts(self) -> None:
        """Alerts are told from now on: those of no stream are at 0 too."""
        for kind in SERVICE_ALERTS:
            self._alerts.labels("", kind)
            self._alerts_firing.labels("", kind)

    def add_alert_sink(self, sink: str) -> None:
        """Name one that alerts are sent to."""
        if _PLAIN_NAME.fullmatch(sink):
            self._alert_sinks.add(sink)
            self._alerts_waiting.labels(sink)
            for outcome in DELIVERY_OUTCOMES:
                self._deliveries.labels(sink, outcome)

    def alert_changed(self, alert: Alert) -> None:
        """An AlertListener."""
        with self._firing_guard:
            if alert.state is AlertState.FIRING and alert.id not in self._firing:
                self._of_alerts(self._alerts, self._alert_stream(alert), alert.kind.value).inc()
            self._firing.pop(alert.id, None)
            if alert.state is AlertState.FIRING:
                self._firing[alert.id] = alert
            labels = (self._alert_stream(alert), alert.kind.value)
            firing = sum((self._alert_stream(one), one.kind.value) == labels for one in self._firing.values())
            if firing or labels[0] != OTHER:
                self._of_alerts(self._alerts_firing, *labels).set(firing)

    def alert_delivery(self, sink: str, outcome: str) -> None:
        self._deliveries.labels(self._known_sink(sink), _one_of(outcome, DELIVERY_OUTCOMES)).inc()

    def alerts_waiting(self, sink: str, count: int) -> None:
        self._alerts_waiting.labels(self._known_sink(sink)).set(count)

    def add_board(self, newest: Callable[[], BoardReading | None]) -> None:
        """Show the board's newest reading at each scrape; None, or a value that is not known, shows nothing."""
        self.registry.register(_Board(newest))

    def evidence_bytes(self, count: int) -> None:
        """What the evidence of all alerts takes on disk now."""
        self._evidence.set(count)

    def evidence_failed(self) -> None:
        """An alert's evidence could not be kept."""
        self._evidence_failures.inc()

    def show_canary(self, is_right: bool, probabilities: Mapping[str, float]) -> None:
        """The newest pass of the known clips; before the first there are no series, nor where the canary is off."""
        if self._canary is None:
            ok = Gauge(
                "unmask_canary_ok", "1 when the engines tell the known clips apart, else 0", registry=self.registry
            )
            said = Gauge(
                "unmask_canary_probability", "Fake probability of a known clip", ["clip"], registry=self.registry
            )
            self._canary = ok, said
        ok, said = self._canary
        ok.set(is_right)
        for clip in CANARY_CLIPS:
            said.labels(clip).set(probabilities.get(clip, math.nan))

    def web_clients(self, count: Callable[[], int]) -> None:
        """``count``: viewers of live videos and listeners to events, now; asked at each scrape, on its thread."""
        self._web_clients.set_function(count)

    def web_answered(self, status: int) -> None:
        self._web_requests.labels(_one_of(str(status), WEB_CODES)).inc()

    def scrape(self) -> str:
        """What a Prometheus server would read now."""
        return generate_latest(self.registry).decode()

    def serve(self, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, *, silent_s: float = SILENT_S) -> MetricsServer:
        """Answer scrapes on ``http://host:port/metrics``; port 0 takes a free one. Raises OutputError.

        Who is silent for ``silent_s`` is hung up on: each scraper holds a thread and a descriptor.
        """
        try:
            server = _listening(host, port, self.registry, silent_s)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"cannot serve metrics on {host}:{port} ({reason}): "
                "choose another --metrics-port, or -1 for none (metrics.enabled: false in a configuration)"
            ) from error
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        return MetricsServer(host, server, thread)

    # The events, in the order of stream.ports.Observer.

    def stream_state(self, stream: StreamName, state: StreamState) -> None:
        self._show_state(stream, state)

    def frame_arrived(self, stream: StreamName, arrived_ns: int) -> None:  # noqa: ARG002 - wall clock is what is asked
        self._of(self._frames, stream).inc()
        self._of(self._last_frame, stream).set(self._wall_clock())

    def frame_damaged(self, stream: StreamName) -> None:
        self._of(self._damaged, stream).inc()

    def frame_dropped(self, stream: StreamName, stage: str, reason: str) -> None:
        self._of(self._drops, stream, _one_of(stage, DROP_STAGES), _one_of(reason, DROP_REASONS)).inc()

    def reconnected(self, stream: StreamName, reason: str) -> None:
        self._of(self._reconnects, stream, _one_of(reason, SOURCE_REASONS)).inc()

    def source_fps(self, stream: StreamName, fps: float) -> None:
        self._of(self._source_fps, stream).set(fps)

    def stage_took(self, stream: StreamName, stage: str, seconds: float) -> None:  # noqa: ARG002 - one series a stage
        self._latency.labels(_one_of(stage, LATENCY_STAGES)).observe(seconds)

    def faces_tracked(self, stream: StreamName, count: int) -> None:
        self._of(self._faces, stream).set(count)

    def face_rejected(self, stream: StreamName, reason: str) -> None:
        self._of(self._rejected, stream, _one_of(reason, QUALITY_REASONS)).inc()

    def window_scored(self, stream: StreamName, verdict: Verdict, fake_probability: float) -> None:
        self._of(self._windows, stream, verdict.value.replace(" ", "_")).inc()
        self._window_score.observe(fake_probability)

    def inference(self, model: str, backend: str, batch: int, seconds: float) -> None:
        labels = self._known_backend(model, backend)
        self._inference_s.labels(*labels).observe(seconds)
        self._batch_size.labels(*labels).observe(batch)

    def inference_failed(self, model: str, backend: str) -> None:
        self._inference_errors.labels(*self._known_backend(model, backend)).inc()

    def runtime_changed(self, model: str, before: str, after: str, reason: str) -> None:
        if (model, before) not in self._backends:
            self._runtime_changes.labels(OTHER, OTHER, OTHER, _one_of(reason, RUNTIME_REASONS)).inc()
            return
        precision = self._backends[model, before]
        if after != before:
            self._backend_info.labels(model, before, precision).set(0)
        if (model, after) not in self._backends:
            self.add_backend(model, after)
        now = self._known_backend(model, after)[1]
        self._runtime_changes.labels(model, before, now, _one_of(reason, RUNTIME_REASONS)).inc()

    def verdict_changed(self, stream: StreamName, face: FaceScore) -> None:
        """Not counted: a change is an alert's business."""

    def sample_skipped(self, stream: StreamName, reason: str) -> None:
        self._of(self._skipped, stream, _one_of(reason, SKIP_REASONS)).inc()

    def sampling_ratio(self, stream: StreamName, ratio: float) -> None:
        self._of(self._sampling, stream).set(ratio)

    def overload_level(self, level: int) -> None:
        self._overload.set(level)

    def _add_stream_series(self) -> None:
        make = self.registry
        self._state = Gauge(
            "unmask_stream_state", "1 for the state a stream is in, else 0", ["stream", "state"], registry=make
        )
        self._last_frame = Gauge(
            "unmask_stream_last_frame_timestamp_seconds",
            "Unix time at which the newest frame arrived, 0 before the first",
            ["stream"],
            registry=make,
        )
        self._source_fps = Gauge(
            "unmask_stream_source_fps", "Measured frames a second of the source", ["stream"], registry=make
        )
        self._reconnects = Counter(
            "unmask_stream_reconnects",
            "Losses of a source and failed attempts to open it, by reason; also cuts in its time or size",
            ["stream", "reason"],
            registry=make,
        )

    def _add_frame_series(self) -> None:
        make = self.registry
        self._frames = Counter("unmask_stream_frames", "Frames that arrived", ["stream"], registry=make)
        self._damaged = Counter(
            "unmask_stream_frames_damaged",
            "Frames that arrived broken, since parts of the video were lost on the way: shown, not judged",
            ["stream"],
            registry=make,
        )
        self._drops = Counter(
            "unmask_stream_frames_dropped",
            "Frames left out: by the analysis or by the overlaid video, for a newer frame or after an error",
            ["stream", "stage", "reason"],
            registry=make,
        )
        self._latency = Histogram(
            "unmask_frame_latency_seconds",
            "Time a frame spends in a stage; e2e is from the decoder to the published score",
            ["stage"],
            registry=make,
            buckets=SECONDS,
        )
        _start(self._latency, [(stage,) for stage in LATENCY_STAGES])

    def _add_face_series(self) -> None:
        make = self.registry
        self._faces = Gauge("unmask_faces_tracked", "Faces in view", ["stream"], registry=make)
        self._rejected = Counter(
            "unmask_faces_rejected", "Faces too poor to be scored", ["stream", "reason"], registry=make
        )
        self._windows = Counter(
            "unmask_windows_scored", "Windows scored, by the verdict shown then", ["stream", "verdict"], registry=make
        )
        self._window_score = Histogram(
            "unmask_window_score",
            "Fake probability of scored windows, 1 = fake",
            registry=make,
            buckets=PROBABILITIES,
        )

    def _add_sampling_series(self) -> None:
        make = self.registry
        self._skipped = Counter(
            "unmask_samples_skipped",
            "Slots of faces in view that were left empty, by reason; poor pictures are counted as rejected",
            ["stream", "reason"],
            registry=make,
        )
        self._sampling = Gauge(
            "unmask_sampling_ratio",
            "Share of a face's slots that are sampled, calm faces aside: 1, 0.5, 0.33, …; 0 before the start",
            ["stream"],
            registry=make,
        )
        self._overload = Gauge(
            "unmask_overload_level", "Rungs by which sampling is thinned out; 0: the machine keeps up", registry=make
        )

    def _add_inference_series(self) -> None:
        make, labels = self.registry, ["model", "backend"]
        self._inference_s = Histogram(
            "unmask_inference_duration_seconds", "Time of one batch", labels, registry=make, buckets=SECONDS
        )
        self._batch_size = Histogram(
            "unmask_inference_batch_size",
            "Frames, faces or windows in one batch",
            labels,
            registry=make,
            buckets=BATCHES,
        )
        self._inference_errors = Counter("unmask_inference_errors", "Batches that failed", labels, registry=make)
        self._backend_info = Gauge(
            "unmask_backend_info", "1 for each model and detector that is loaded", [*labels, "precision"], registry=make
        )
        self._runtime_changes = Counter(
            "unmask_runtime_changes",
            "Changes of a model's runtime while it ran: an engine came in, or a runtime failed",
            ["model", "before", "after", "reason"],
            registry=make,
        )

    def _add_alert_series(self) -> None:
        make, labels = self.registry, ["stream", "rule_kind"]
        self._alerts = Counter("unmask_alerts", "Alerts that fired, by what their rule looks at", labels, registry=make)
        self._alerts_firing = Gauge(
            "unmask_alerts_firing", "Alerts that have fired and have not resolved", labels, registry=make
        )
        self._deliveries = Counter(
            "unmask_alert_deliveries",
            "Tries to bring a message to a sink, by how they ended, and messages given up for want of room",
            ["sink", "outcome"],
            registry=make,
        )
        self._alerts_waiting = Gauge(
            "unmask_alert_spool_messages", "Messages that wait for a sink", ["sink"], registry=make
        )

    def _add_evidence_series(self) -> None:
        make = self.registry
        self._evidence = Gauge("unmask_evidence_bytes", "What the evidence of all alerts takes on disk", registry=make)
        self._evidence_failures = Counter(
            "unmask_evidence_failures", "Alerts whose evidence could not be kept", registry=make
        )

    def _add_web_series(self) -> None:
        self._web_clients = Gauge(
            "unmask_web_clients", "Viewers of live videos and listeners to events", registry=self.registry
        )
        self._web_requests = Counter(
            "unmask_web_requests", "Requests the web page and its API have answered", ["code"], registry=self.registry
        )
        _start(self._web_requests, [(code,) for code in WEB_CODES])

    def _add_process_series(self) -> None:
        info = Gauge(
            "unmask_build_info", "1, with the version that runs", ["version", "python"], registry=self.registry
        )
        info.labels(release(), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def _show_state(self, stream: str, current: StreamState | None) -> None:
        for state in StreamState:
            self._of(self._state, stream, state.value).set(1 if state is current else 0)

    def _of(self, metric: Counter | Gauge, stream: str, *labels: str) -> Any:
        """The series of a stream, or of ``other``."""
        series = self._streams.get(stream, {}).get((metric, (stream, *labels)))
        return metric.labels(self._known(stream), *labels) if series is None else series

    def _of_alerts(self, metric: Counter | Gauge, stream: str, kind: str) -> Any:
        """Alerts of the whole service name no stream."""
        return self._of(metric, stream, kind) if stream else metric.labels(stream, kind)

    def _known(self, stream: str) -> str:
        return stream if stream in self._streams else OTHER

    def _alert_stream(self, alert: Alert) -> str:
        return self._known(alert.stream) if alert.stream else ""

    def _known_sink(self, sink: str) -> str:
        return sink if sink in self._alert_sinks else OTHER

    def _known_backend(self, model: str, backend: str) -> tuple[str, str]:
        return (model, backend) if (model, backend) in self._backends else (OTHER, OTHER)


class _Board:
    """The board's gauges, made at each scrape: a value that is no longer known is gone, not stale."""

    def __init__(self, newest: Callable[[], BoardReading | None]) -> None:
        self._newest = newest

    def collect(self) -> Iterator[GaugeMetricFamily]:
        reading = self._newest()
        if reading is not None:
            yield from (family for family in _board_families(reading) if family.samples)


def _board_families(board: BoardReading) -> tuple[GaugeMetricFamily, ...]:
    """The board's own values have an empty ``gpu``, which to Prometheus is none."""
    celsius = GaugeMetricFamily(
        "unmask_board_temperature_celsius", "The hottest sensor of a zone", labels=["zone", "gpu"]
    )
    watts = GaugeMetricFamily("unmask_board_power_watts", "Power drawn through a rail", labels=["rail", "gpu"])
    load = GaugeMetricFamily("unmask_board_gpu_load_ratio", "Share of time the GPU is busy, 0 to 1", labels=["gpu"])
    used = GaugeMetricFamily(
        "unmask_board_memory_used_bytes", "Used memory: of a GPU, or what CPU and GPU share", labels=["gpu"]
    )
    total = GaugeMetricFamily(
        "unmask_board_memory_total_bytes", "All memory: of a GPU, or what CPU and GPU share", labels=["gpu"]
    )
    rows: list[tuple[GaugeMetricFamily, list[str], float | None]] = [
        *((celsius, [zone, ""], value) for zone, value in board.celsius.items()),
        *((watts, [rail, ""], value) for rail, value in board.watts.items()),
        (load, [""], board.load),
        (used, [""], board.memory_used_bytes),
        (total, [""], board.memory_total_bytes),
    ]
    for gpu in board.gpus:
        number = str(gpu.number)
        rows += [(celsius, ["gpu", number], gpu.celsius), (watts, ["total", number], gpu.watts)]
        rows += [(load, [number], gpu.load), (used, [number], gpu.memory_used_bytes)]
        rows += [(total, [number], gpu.memory_total_bytes)]
    for family, labels, value in rows:
        if value is not None:
            family.add_metric(labels, value)
    return celsius, watts, load, used, total


def _listening(host: str, port: int, registry: CollectorRegistry, silent_s: float) -> ThreadingWSGIServer:
    """The library's server, but for its patience, which has no end."""

    class Handler(WSGIRequestHandler):
        timeout = silent_s
        """Of the connection, in each read and write."""

        def log_message(self, *_: object) -> None:
            """A scrape is no news."""

    class Server(ThreadingWSGIServer):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever hangs up in the middle, or is hung up on, is no news either."""
            if not isinstance(sys.exc_info()[1], OSError):
                super().handle_error(request, client_address)

    return make_server(host, port, make_wsgi_app(registry), Server, Handler)


class MetricsServer:
    """Answers scrapes on a thread of its own until closed."""

    def __init__(self, host: str, server: Any, thread: threading.Thread) -> None:
        self._server = server
        self._thread = thread
        self.host = host
        self.port = int(server.server_port)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    def close(self) -> None:
        """Stop answering and wait for the thread; a second call does nothing."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _start(metric: Counter | Histogram, labels: list[tuple[str, ...]]) -> None:
    for values in labels:
        metric.labels(*values)


def _one_of(value: str, known: tuple[str, ...]) -> str:
    return value if value in known else OTHER
