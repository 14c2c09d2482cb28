"""One measurement: so many cameras, served by another process, watched as ``unmask watch`` does."""

from __future__ import annotations

import signal
import socket
import subprocess  # nosec B404 # this interpreter, again
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from engines.runtime.ports import Backend
from stream.app import Started, WatchResult, watch
from stream.benchmark.cpu import CpuReading, Meter, MeteredBackend, read_cpu, shares_by_name, thread_ids, used_s
from stream.benchmark.observations import Counts, Rates, Recorder, StreamNumbers, numbers_of
from stream.config import AppConfig, MetricsConfig, StreamConfig
from stream.config_canary import CanaryConfig
from stream.config_restream import RestreamConfig
from stream.errors import SourceError, UnmaskError
from stream.faces.network import NetworkDetector
from stream.parts import Parts, Wrap, open_parts
from stream.types import StreamName, StreamState

CAMERA_FPS = 25.0
START_WITHIN_S = 60.0
WARM_UP_S = 7.0
"""Windows must fill before faces are scored, and the guard against overload must have had its say: it takes the load of
three seconds, once the last stream has settled for three."""
POLL_S = 0.05
GRACE_S = 5.0
GREY = 128


@dataclass(frozen=True)
class TrialOrder:
    """What is measured."""

    streams: int
    mode: str
    """``score``: faces scored and metrics kept, nothing drawn. ``restream``: also drawn, encoded, served and watched by
    a client for each stream, or nothing would be encoded."""
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
    viewer_cpu: float = 0.0
    """Of the clients' process, which is not in ``cpu``."""
    viewer_fps: tuple[float, ...] = ()
    """Pictures a second that the client of each stream got; empty without clients."""

    @property
    def cpu_outside(self) -> float:
        """Per stream, outside inference."""
        return (self.cpu - self.cpu_inference) / max(1, len(self.streams))


class Cameras:
    """A process that serves ``count`` cameras; its addresses."""

    def __init__(self, clip: Path, count: int) -> None:
        """Raises SourceError when the clip cannot be served."""
        command = [sys.executable, "-m", "stream.gst.camera_fleet", str(clip), str(count)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # nosec B603 # our module
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


class Viewers:
    """A process with one client for each address, and what each of them has got."""

    def __init__(self, urls: Sequence[str]) -> None:
        command = [sys.executable, "-m", "stream.gst.viewers", *urls]
        self._process = subprocess.Popen(  # nosec B603 # our module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process = psutil.Process(self._process.pid)

    def pictures(self) -> tuple[int, ...]:
        """Since each client began. Raises UnmaskError when the process has ended."""
        if self._process.stdin is None or self._process.stdout is None or self._process.poll() is not None:
            raise UnmaskError("the benchmark's viewers ended before they were measured: run unmask doctor")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return tuple(map(int, self._process.stdout.readline().split()))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(GRACE_S)


@contextmanager
def cameras(clip: Path, count: int) -> Iterator[Cameras]:
    served = Cameras(clip, count)
    try:
        yield served
    finally:
        served.close()


@dataclass(frozen=True)
class Metered:
    """What ``watch`` would run, with a meter around each network."""

    parts: Parts
    detector: NetworkDetector
    """``parts.detector``, whose network can also be run on pictures that are no frames."""
    meter: Meter
    runtime_threads: frozenset[int]
    """Native ids of the threads that the runtimes made for themselves."""

    @property
    def networks(self) -> dict[str, str]:
        """Runtime and precision of what ``auto`` or the configuration chose."""
        model, detector = self.parts.model, self.detector
        return {
            "backbone": f"{self.parts.scorer.backend_name} {model.precision}",
            "detector": f"{detector.backend_name} {detector.precision}",
        }


@contextmanager
def metered_parts(
    config: AppConfig, *, threads: int | None = None, wrap: Wrap = lambda _, backend: backend
) -> Iterator[Metered]:
    """The parts of ``watch``, each network run once so that its runtime has made its threads; ``wrap``: metered too."""
    meter, before = Meter(), thread_ids()

    def metered(stage: str, backend: Backend) -> Backend:
        return MeteredBackend(wrap(stage, backend), meter, stage)

    parts = open_parts(config, threads=threads, wrap=metered)
    detector = parts.detector
    if not isinstance(detector, NetworkDetector):
        raise TypeError("the detector runs no network")
    try:
        _run_once(parts, detector)
        yield Metered(parts, detector, meter, frozenset(thread_ids() - before))
    finally:
        detector.close()
        parts.close()


def _run_once(parts: Parts, detector: NetworkDetector) -> None:
    """On grey pictures and an empty window."""
    spec = parts.model.spec
    width, height = detector.fit((1280, 720)).canvas_wh
    detector.find(np.full((height, width, 3), GREY, np.uint8))
    features = parts.scorer.embed([np.full((spec.pixels.size, spec.pixels.size, 3), GREY, np.uint8)])
    window = np.repeat(features[:, None], spec.window.slots, axis=1)
    parts.scorer.score(window, np.ones(window.shape[:2], np.float32))


def run_trial(order: TrialOrder, clip: Path, metered: Metered, config: AppConfig | None = None) -> TrialResult:
    """Serve, watch, warm up, measure. Raises SourceError when a camera does not play in time."""
    with cameras(clip, order.streams) as served, watching(served.urls, order, metered, config) as run:
        run.wait_until_playing()
        with viewing(run.served_urls) as viewers:
            time.sleep(WARM_UP_S)
            return run.measure(order.seconds, [served.process], viewers)


@contextmanager
def viewing(urls: Sequence[str]) -> Iterator[Viewers | None]:
    """None for no addresses."""
    viewers = Viewers(urls) if urls else None
    try:
        yield viewers
    finally:
        if viewers is not None:
            viewers.close()


@contextmanager
def watching(
    urls: Sequence[str], order: TrialOrder, metered: Metered, config: AppConfig | None = None
) -> Iterator[Watching]:
    run = Watching(urls, order, metered, config or AppConfig())
    try:
        yield run
    finally:
        run.close()


class Watching:
    """A ``watch`` on a thread of its own, and what is seen of it."""

    def __init__(self, urls: Sequence[str], order: TrialOrder, metered: Metered, base: AppConfig) -> None:
        self._order, self._metered = order, metered
        self.names = tuple(f"camera-{number}" for number in range(1, len(urls) + 1))
        self.recorder = Recorder(video_stage="overlay" if order.mode == "restream" else None)
        self.recorder.watch_clock(time.monotonic_ns)
        self.recorder.threads.update(dict.fromkeys(metered.runtime_threads, "inference"))
        self._config = _config(base, dict(zip(self.names, urls, strict=True)), order.mode)
        restream = self._config.restream
        self.served_urls = tuple(
            f"rtsp://{restream.host}:{restream.port}/{name}" for name in self.names if restream.enabled
        )
        """Where the drawn videos are, if they are served."""
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._result: WatchResult | None = None
        self._started: Started | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = watch(
                self._config,
                stop=self._stop,
                sinks=[self.recorder],
                observers=[self.recorder],
                parts=self._metered.parts,
                on_started=self._keep,
            )
        except Exception as error:  # top of the thread: raised again by the owner
            self._failure = error

    def _keep(self, started: Started) -> None:
        self._started = started

    @property
    def started(self) -> Started:
        """What the watch told; once its streams play. Raises what stopped it."""
        self._check()
        if self._started is None:
            raise RuntimeError("the watch has not started")
        return self._started

    def wait_until_playing(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while not all(self.recorder.state.get(StreamName(name)) is StreamState.PLAYING for name in self.names):
            self._check()
            if time.monotonic() > deadline:
                raise SourceError("a benchmark camera did not play in time: try fewer streams", reason="timeout")
            time.sleep(POLL_S)

    def measure(self, seconds: float, served: Sequence[psutil.Process], viewers: Viewers | None = None) -> TrialResult:
        """Over the next ``seconds``."""
        meter = self._metered.meter
        looking = [] if viewers is None else [viewers.process]
        pictures = () if viewers is None else viewers.pictures()
        counts, before, looked, networks = self.recorder.counts(), read_cpu(served), used_s(looking), meter.copy()
        time.sleep(seconds)
        after, used = read_cpu(served), meter.copy().since(networks)
        span_s = (after.at_ns - before.at_ns) / 1e9
        got = () if viewers is None else viewers.pictures()
        self._check()
        streams = tuple(self.numbers(name, counts, (before.at_ns, after.at_ns)) for name in self.names)
        threads = shares_by_name(before, after, self.recorder.threads)
        return replace(
            _result(self._order, streams, (before, after), threads, used),
            viewer_cpu=(used_s(looking) - looked) / span_s,
            viewer_fps=tuple((now - then) / span_s for now, then in zip(got, pictures, strict=True)),
        )

    def numbers(self, name: str, before: Counts, span_ns: tuple[int, int]) -> StreamNumbers:
        slots_per_s = 1 / self._metered.parts.model.spec.window.period_s
        return numbers_of(self.recorder, before, name, span_ns, Rates(self._order.camera_fps, slots_per_s))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._thread.is_alive():
            raise UnmaskError("the watched streams ended before they were measured: run unmask doctor")


def free_port() -> int:
    """Of this machine, a moment ago: all streams are served on one, as they are by default."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(base: AppConfig, urls: dict[str, str], mode: str) -> AppConfig:
    changes = {
        "streams": tuple(StreamConfig(source=url, name=name) for name, url in urls.items()),
        "display": False,
        "metrics": MetricsConfig(port=0),
        "restream": RestreamConfig(enabled=mode == "restream", port=free_port()),
        "canary": CanaryConfig(enabled="off"),  # it would be measured too
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
    networks = networks_of(used, seconds, shares.get("inference", 0.0))
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


def networks_of(used: Meter, seconds: float, helpers: float) -> dict[str, float]:
    """Cores by network: of the calling thread, and the runtimes' own (``helpers``) by how long each was waited for."""
    waited = {stage: used.waited_s(stage) for stage in NETWORKS}
    total = sum(waited.values()) or 1.0
    return {stage: used.cpu_s[stage] / seconds + helpers * waited[stage] / total for stage in NETWORKS}


def stages_of(threads: dict[str, float], networks: dict[str, float]) -> dict[str, float]:
    """CPU by what it was for. The analysis thread's share outside the networks is crops, tracking, windows, sinks."""
    roles: dict[str, float] = Counter()  # type: ignore[assignment]
    for name, share in threads.items():
        roles[_role(name)] += share
    analysis = max(0.0, roles.pop("analysis", 0.0) + roles.pop("inference", 0.0) - sum(networks.values()))
    return {**networks, "analysis": analysis, **roles}


def _role(thread: str) -> str:
    return next((role for role, starts in THREADS.items() if thread.startswith(starts)), "other")


NETWORKS = ("detect", "embed", "head")
THREADS: dict[str, tuple[str, ...]] = {
    "analysis": ("analysis",),
    "inference": ("inference",),
    "decode": ("decode", "rtpjitterbuf", "avdec"),
    "overlay": ("overlay",),
    "encode": ("in:src", "x264", "openh264"),
    "receive": ("rtps", "task", "pool", "queue", "source"),
}
"""Whose threads start with what: Python's, our stages' and, where none is told, GStreamer's after their pads.

FFmpeg's workers bear the name of the thread that made them, ``rtpjitterbuffer``.
"""
