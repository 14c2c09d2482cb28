"""One measurement: so many cameras, served by another process, watched as ``unmask watch`` does."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from stream.app import WatchResult, watch
from stream.benchmark.cpu import CpuReading, Meter, MeteredBackend, read_cpu, shares_by_name
from stream.benchmark.observations import Recorder, StreamNumbers, numbers_of
from stream.config import AppConfig, MetricsConfig, RestreamConfig, StreamConfig
from stream.errors import SourceError, UnmaskError
from stream.faces.network import NetworkDetector
from stream.faces.open import network_named
from stream.parts import Parts, open_parts
from stream.scoring.scorer import ModelScorer
from stream.types import StreamName, StreamState

CAMERA_FPS = 25.0
START_WITHIN_S = 60.0
WARM_UP_S = 3.0
"""Windows must fill before faces are scored."""
POLL_S = 0.05
GRACE_S = 5.0


@dataclass(frozen=True)
class TrialOrder:
    """What is measured."""

    streams: int
    mode: str
    """``score``: faces scored and metrics kept, nothing drawn. ``restream``: also drawn, encoded and served."""
    seconds: float
    camera_fps: float = CAMERA_FPS


@dataclass(frozen=True)
class TrialResult:
    """What was measured; CPU in cores (1.0 = one core fully used)."""

    streams: tuple[StreamNumbers, ...]
    mode: str
    seconds: float
    cpu: float
    cpu_inference: float
    """Of ``cpu``, inside the networks' runtimes."""
    stages: dict[str, float]
    """``cpu`` told apart: decode, detect, embed, head (networks), analysis, overlay, encode, other."""
    threads: dict[str, float]
    """``cpu`` by the names of the threads, the largest first."""
    camera_cpu: float
    """Of the cameras' processes, which is not in ``cpu``."""
    machine_cpu: float
    """Of everything on the machine, cameras and other programs included."""
    rss_mib: float
    batch: float
    """Faces in one run of the backbone, on average."""
    embeds_per_s: float

    @property
    def cpu_outside(self) -> float:
        """Per stream, outside inference."""
        return (self.cpu - self.cpu_inference) / max(1, len(self.streams))


class Cameras:
    """A process that serves ``count`` cameras; its addresses."""

    def __init__(self, clip: Path, count: int) -> None:
        """Raises SourceError when the clip cannot be served."""
        command = [sys.executable, "-m", "stream.gst.camera_fleet", str(clip), str(count)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline() if self._process.stdout else ""
        self.urls = tuple(line.split())
        self.process = psutil.Process(self._process.pid)
        if len(self.urls) != count:
            self.close()
            raise SourceError(f"{clip} cannot be served as cameras: give another clip")

    def freeze(self) -> None:
        """The process keeps its sockets open and sends nothing more."""
        self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(GRACE_S)


@contextmanager
def cameras(clip: Path, count: int) -> Iterator[Cameras]:
    served = Cameras(clip, count)
    try:
        yield served
    finally:
        served.close()


@contextmanager
def metered_parts(config: AppConfig) -> Iterator[tuple[Parts, Meter]]:
    """The configured model and detector, whose networks tell the meter what they take."""
    meter = Meter()
    parts = open_parts(config)
    backbone = MeteredBackend(parts.model.backbone, meter, "embed")
    head = MeteredBackend(parts.model.head, meter, "head")
    scorer = ModelScorer(backbone, head, parts.model.spec)
    detector, close = metered_detector(config, meter)
    try:
        yield Parts(parts.model, detector, scorer), meter
    finally:
        close.close()
        parts.close()


def metered_detector(config: AppConfig, meter: Meter) -> tuple[NetworkDetector, OnnxRuntimeBackend]:
    chosen = config.detector
    network = network_named(chosen.name)
    path = chosen.weights or network.find_weights()
    backend = OnnxRuntimeBackend(network.load_graph(path), threads=config.model.threads or 1)
    metered = MeteredBackend(backend, meter, "detect")
    return NetworkDetector(network, metered, confidence=chosen.confidence, width=chosen.width), backend


def run_trial(
    order: TrialOrder, clip: Path, parts: Parts, meter: Meter, config: AppConfig | None = None
) -> TrialResult:
    """Serve, watch, warm up, measure. Raises SourceError when a camera does not play in time."""
    with cameras(clip, order.streams) as served, watching(served.urls, order, parts, config) as run:
        run.wait_until_playing()
        time.sleep(WARM_UP_S)
        return run.measure(order.seconds, meter, [served.process])


@contextmanager
def watching(
    urls: Sequence[str], order: TrialOrder, parts: Parts, config: AppConfig | None = None
) -> Iterator[Watching]:
    run = Watching(urls, order, parts, config or AppConfig())
    try:
        yield run
    finally:
        run.close()


class Watching:
    """A ``watch`` on a thread of its own, and what is seen of it."""

    def __init__(self, urls: Sequence[str], order: TrialOrder, parts: Parts, base: AppConfig) -> None:
        self._order, self._parts = order, parts
        self.names = tuple(f"camera-{number}" for number in range(1, len(urls) + 1))
        self.recorder = Recorder(video_stage="overlay" if order.mode == "restream" else None)
        self.recorder.watch_clock(time.monotonic_ns)
        self._config = _config(base, dict(zip(self.names, urls, strict=True)), order.mode)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._result: WatchResult | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = watch(
                self._config, stop=self._stop, sinks=[self.recorder], observers=[self.recorder], parts=self._parts
            )
        except Exception as error:  # top of the thread: raised again by the owner
            self._failure = error

    def wait_until_playing(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while not all(self.recorder.state.get(StreamName(name)) is StreamState.PLAYING for name in self.names):
            self._check()
            if time.monotonic() > deadline:
                raise SourceError("a benchmark camera did not play in time: try fewer streams", reason="timeout")
            time.sleep(POLL_S)

    def measure(self, seconds: float, meter: Meter, served: Sequence[psutil.Process]) -> TrialResult:
        """Over the next ``seconds``."""
        drops, before, networks = Counter(self.recorder.drops), read_cpu(served), meter.copy()
        time.sleep(seconds)
        after, used = read_cpu(served), meter.copy().since(networks)
        self._check()
        streams = tuple(self.numbers(name, drops, (before.at_ns, after.at_ns)) for name in self.names)
        threads = shares_by_name(before, after, self.recorder.threads)
        return _result(self._order, streams, (before, after), threads, used)

    def numbers(self, name: str, drops: Counter[tuple[StreamName, str]], span_ns: tuple[int, int]) -> StreamNumbers:
        return numbers_of(self.recorder, drops, name, span_ns, self._order.camera_fps)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._thread.is_alive():
            raise UnmaskError("the watched streams ended before they were measured: run unmask doctor")


def _config(base: AppConfig, urls: dict[str, str], mode: str) -> AppConfig:
    changes = {
        "streams": tuple(StreamConfig(source=url, name=name) for name, url in urls.items()),
        "display": False,
        "metrics": MetricsConfig(port=0),
        "restream": RestreamConfig(enabled=mode == "restream", port=0),
    }
    return base.model_copy(update=changes)


def _result(
    order: TrialOrder,
    streams: tuple[StreamNumbers, ...],
    readings: tuple[CpuReading, CpuReading],
    shares: dict[str, float],
    used: Meter,
) -> TrialResult:
    before, after = readings
    seconds = (after.at_ns - before.at_ns) / 1e9
    threads = dict(sorted(shares.items(), key=lambda item: -item[1]))
    networks = {stage: used.cpu_s[stage] / seconds for stage in ("detect", "embed", "head")}
    cpu = (after.total_s - before.total_s) / seconds
    return TrialResult(
        streams,
        order.mode,
        seconds,
        cpu,
        sum(networks.values()),
        stages_of(threads, networks),
        threads,
        camera_cpu=(after.others_s - before.others_s) / seconds,
        machine_cpu=(after.machine_s - before.machine_s) / seconds,
        rss_mib=psutil.Process().memory_info().rss / 2**20,
        batch=used.rows["embed"] / max(1, used.runs["embed"]),
        embeds_per_s=used.rows["embed"] / seconds,
    )


def stages_of(threads: dict[str, float], networks: dict[str, float]) -> dict[str, float]:
    """CPU by what it was for. The analysis thread's share outside the networks is crops, tracking, windows, sinks."""
    roles: dict[str, float] = Counter()  # type: ignore[assignment]
    for name, share in threads.items():
        roles[_role(name)] += share
    analysis = max(0.0, roles.pop("analysis", 0.0) - sum(networks.values()))
    return {**networks, "analysis": analysis, **roles}


def _role(thread: str) -> str:
    return next((role for role, starts in THREADS.items() if thread.startswith(starts)), "other")


THREADS: dict[str, tuple[str, ...]] = {
    "analysis": ("analysis",),
    "decode": ("decode", "rtpjitterbuf", "avdec"),
    "overlay": ("overlay",),
    "encode": ("in:src", "x264", "openh264"),
    "receive": ("rtps", "task", "pool", "queue", "source"),
}
"""Whose threads start with what: Python's, our stages' and, where none is told, GStreamer's after their pads.

FFmpeg's workers bear the name of the thread that made them, ``rtpjitterbuffer``.
"""
