"""The live path at 720p30 on this machine: smoothness, age of the scores, cost outside inference, backbone work.

    .venv/bin/python -m bench.live [--clip demo/clip.mp4] [--seconds 30]

A clip is served as an RTSP camera by another process and watched as ``unmask watch`` does, three times:

full      the shipped model and detector, video overlaid and encoded: gaps between drawn frames, age of the scores drawn
bare      fixed faces and a model that costs nothing, every frame overlaid but not encoded: CPU of this process is
          everything outside inference (ingest, decode, crops, tracking, windows, overlay, metrics); and once more
          without the overlay, to tell the two apart
recompute the predecessors' way beside ours on the same crops: 20 backbone runs for each score against one per sample
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from engines.catalog import open_model
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from stream.app import watch
from stream.board import SceneBoard
from stream.config import AppConfig, MetricsConfig, StreamConfig
from stream.faces.centerface import NETWORK
from stream.gst.output import OutputTargets, VideoOutput
from stream.metrics import Metrics
from stream.observers import FanOut, SilentObserver, StreamFacts
from stream.parts import Parts, build_analysis, build_analyzer, open_parts
from stream.roster import RunningStream
from stream.runner import Runner
from stream.scheduling.plan import StreamPlan
from stream.scoring.scorer import ModelScorer
from stream.sources.open import open_source
from stream.sources.uri import parse_source
from stream.types import FaceBox, Frame, Scene, StreamName

WARM_UP_S = 3.0


@dataclass
class Stopwatch(SilentObserver):
    """When frames were drawn and scenes published; an Observer and a Sink."""

    drawn_ns: list[int] = field(default_factory=list)
    overlay_ms: list[float] = field(default_factory=list)
    published: list[tuple[int, int]] = field(default_factory=list)
    scored: int = 0

    def stage_took(self, stream: StreamName, stage: str, seconds: float) -> None:  # noqa: ARG002
        if stage == "overlay":
            self.drawn_ns.append(time.monotonic_ns())
            self.overlay_ms.append(seconds * 1e3)

    def window_scored(self, *_: object) -> None:
        self.scored += 1

    def publish(self, scene: Scene) -> None:
        if scene.captured_ns:
            self.published.append((scene.published_ns, scene.captured_ns))

    def close(self) -> None:
        """Nothing is open."""

    def gaps_ms(self) -> Array:
        return np.diff(self._steady()) / 1e6

    def ages_ms(self) -> Array:
        """Age, at each drawn frame, of the newest scene published before it."""
        times = [published for published, _ in self.published]
        ages = []
        for drawn in self._steady():
            index = bisect_right(times, drawn) - 1
            if index >= 0:
                ages.append((drawn - self.published[index][1]) / 1e6)
        return np.array(ages)

    def _steady(self) -> list[int]:
        """Without the start: connecting and loading are no part of the steady state."""
        start = self.drawn_ns[0] + WARM_UP_S * 1e9
        return [drawn for drawn in self.drawn_ns if drawn >= start]


class FixedFace:
    """A detector that costs nothing."""

    name, backend_name, precision, geometry = "fixed", "none", "fp32", NETWORK.geometry

    def detect(self, frame: Frame) -> tuple[FaceBox, ...]:
        width, height = frame.planes.width, frame.planes.height
        return (FaceBox((width * 0.4, height * 0.3, width * 0.6, height * 0.7), 0.99),)


def free_parts() -> Parts:
    """The shipped spec on backends that answer at once."""
    model = open_model()
    size, window = model.spec.pixels.size, model.spec.window
    backbone = ScriptedBackend(
        (TensorSpec("crops", (None, 3, size, size)),),
        (TensorSpec("features", (None, window.feature_dim)),),
        lambda arrays: {"features": np.zeros((len(arrays["crops"]), window.feature_dim), np.float32)},
    )
    head = ScriptedBackend(
        (TensorSpec("features", (None, window.slots, window.feature_dim)), TensorSpec("mask", (None, window.slots))),
        (TensorSpec("logit", (None, 1)),),
        lambda arrays: {"logit": np.zeros((len(arrays["features"]), 1), np.float32)},
    )
    return Parts(model, FixedFace(), ModelScorer(backbone, head, model.spec))


@contextmanager
def camera(clip: Path) -> Iterator[str]:
    """Serve the clip from another process; its address."""
    command = [sys.executable, "-m", "stream.gst.camera", str(clip)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield next(word for word in line.split() if word.startswith("rtsp://"))
    finally:
        process.terminate()
        process.wait(10)


def run(url: str, seconds: float, *, parts: Parts, save: Path) -> Stopwatch:
    """Watch for so long, as ``unmask watch --save`` does."""
    stopwatch = Stopwatch()
    stream = StreamConfig(source=url, name="bench")
    config = AppConfig(streams=(stream,), display=False, save=save, duration_s=seconds, metrics=MetricsConfig(port=0))
    watch(config, parts=parts, sinks=[stopwatch], observers=[stopwatch])
    return stopwatch


def run_bare(url: str, seconds: float, *, overlaid: bool) -> tuple[Stopwatch, dict[str, float]]:
    """The live path without inference and without an encoder, put together by hand; CPU as ``cpu_shares`` says."""
    config, stopwatch, facts, board = AppConfig(), Stopwatch(), StreamFacts(), SceneBoard()
    name, metrics, wake = StreamName("bench"), Metrics(), threading.Event()
    metrics.add_stream(name)
    observer = FanOut([metrics, facts, stopwatch])
    parts = free_parts()
    output = VideoOutput(name, OutputTargets(), board, is_live=True, observer=observer, on_error=_fail)
    source = open_source(
        name, parse_source(url), observer=observer, video=output if overlaid else None, on_frame=wake.set
    )
    stream = RunningStream(source, build_analysis(config, parts, name, plan=StreamPlan(is_live=True)), board)
    runner = Runner(build_analyzer(config, parts, observer, facts), [stream], [stopwatch], observer, wake=wake)
    runner.start()
    try:
        time.sleep(WARM_UP_S)
        cpu = cpu_shares(seconds)
    finally:
        runner.stop()
        source.close()
        output.close()
        runner.join()
    if overlaid and not stopwatch.drawn_ns:
        raise SystemExit("bench: no frame was drawn, so nothing was measured")
    return stopwatch, cpu


def cpu_shares(seconds: float) -> dict[str, float]:
    """CPU seconds per second that this process's threads use over so many seconds, added up by the threads' names.

    GStreamer names a thread after what drives it: ``rtpjitterbuffer`` unpacks and decodes, ``in:src`` draws.
    """
    before = _cpu_by_thread()
    time.sleep(seconds)
    shares: dict[str, float] = {}
    for thread, (name, used_s) in _cpu_by_thread().items():
        shares[name] = shares.get(name, 0.0) + (used_s - before.get(thread, (name, 0.0))[1]) / seconds
    return shares


def _cpu_by_thread() -> dict[int, tuple[str, float]]:
    process = psutil.Process()
    names = {int(path.name): (path / "comm").read_text().strip() for path in Path("/proc/self/task").iterdir()}
    return {used.id: (names.get(used.id, "?"), used.user_time + used.system_time) for used in process.threads()}


def _shares(cpu: dict[str, float]) -> str:
    largest = sorted(cpu.items(), key=lambda item: -item[1])[:4]
    return f"{sum(cpu.values()):.1%} of a core ({', '.join(f'{name} {share:.1%}' for name, share in largest)})"


def _fail(error: Exception) -> None:
    raise SystemExit(f"bench: {error}")


def recompute(parts: Parts, scores: int = 20) -> tuple[float, float]:
    """Median ms of backbone work per score: ours (one new sample) and the predecessors' (20 frames again)."""
    spec = parts.model.spec
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (spec.pixels.size, spec.pixels.size, 3), np.uint8) for _ in range(spec.window.slots)]
    ours, theirs = [], []
    for _ in range(scores):
        ours.append(_timed_ms(lambda: parts.scorer.embed(crops[:1])))
        theirs.append(_timed_ms(lambda: parts.scorer.embed(crops)))
    return float(np.median(ours)), float(np.median(theirs))


def _timed_ms(work: Any) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def main() -> int:
    options = _options()
    table = Table(title=f"live path, {options.clip.name}, {options.seconds:.0f} s each")
    for heading in ("what", "measured", "bound"):
        table.add_column(heading)
    with camera(options.clip) as url, tempfile.TemporaryDirectory() as scratch:
        for row in rows(url, options.seconds, Path(scratch)):
            table.add_row(*row)
    Console().print(table)
    return 0


def rows(url: str, seconds: float, scratch: Path) -> Iterator[tuple[str, str, str]]:
    real = open_parts(AppConfig())
    seen = run(url, seconds, parts=real, save=scratch / "overlay.mp4")
    gaps, ages = seen.gaps_ms(), seen.ages_ms()
    yield "drawn frames per second", f"{1e3 / gaps.mean():.2f}", "the camera's 30"
    yield (
        "gap between drawn frames, p50 / p99",
        f"{np.median(gaps):.1f} / {np.percentile(gaps, 99):.1f} ms",
        "p99 ≤ 50 ms",
    )
    yield "age of drawn scores, p50 / p99", f"{np.median(ages):.0f} / {np.percentile(ages, 99):.0f} ms", "≤ 500 ms"
    yield "overlay per frame, p50 / p99", _pair(seen.overlay_ms), "p50 ≤ 0.6 ms"
    yield "windows scored", str(seen.scored), "5 a second and face"
    bare, cpu = run_bare(url, seconds, overlaid=True)
    yield "CPU outside inference, overlaid", f"{_shares(cpu)}, {len(bare.drawn_ns)} frames", "≤ 10 %"
    _, cpu = run_bare(url, seconds, overlaid=False)
    yield "the same without the overlay", _shares(cpu), ""
    ours, theirs = recompute(real)
    yield (
        "backbone per score: ours / 20 frames again",
        f"{ours:.1f} / {theirs:.1f} ms = {theirs / ours:.1f} ×",
        "≥ 15 ×",
    )


def _pair(values: list[float]) -> str:
    return f"{np.median(values):.2f} / {np.percentile(values, 99):.2f} ms"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=Path("demo/clip.mp4"))
    parser.add_argument("--seconds", type=float, default=30.0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
