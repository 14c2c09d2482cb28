"""``unmask bench``: what was asked for is measured, printed, and written as JSON."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from engines.runtime.table import ALWAYS
from engines.spec import WindowSpec
from stream.benchmark.comparison import compare
from stream.benchmark.growth import curves_json, draw_chart, grow
from stream.benchmark.observations import FULL_RATE, largest, largest_kept, misses_of, rounded
from stream.benchmark.report import networks_line, process_lines, process_table, stall_table, streams_table
from stream.benchmark.trial import (
    CAMERA_FPS,
    WARM_UP_S,
    Metered,
    TrialOrder,
    TrialResult,
    cameras,
    metered_parts,
    run_trial,
    viewing,
    watching,
)
from stream.config import AppConfig
from stream.demo.clip import ensure_clip
from stream.errors import OutputError, SourceError, UsageError
from stream.gst.clip_making import ClipShape, ensure_shaped

SCHEMA = 3
"""Counts up when a key of the JSON changes its meaning."""
MOST_STREAMS = 64
SEARCH_S = 6.0
"""Length of a trial while the largest number is searched; it is measured again at full length."""
LIKELY = {"score": 8, "restream": 4}
"""Where the search begins: what two cores carry."""
WIDE = 140
CLIPS = Path("build/bench")


@dataclass(frozen=True)
class BenchOrder:
    """What ``unmask bench`` is asked for."""

    config: AppConfig
    streams: int | None = 1
    """None searches for the largest number."""
    mode: str = "score"
    seconds: float = 20.0
    clip: Path = Path("demo/clip.mp4")
    json: Path | None = None
    stall: bool = False
    compare: bool = False
    grow: bool = False


def run_bench(order: BenchOrder, *, console: Console | None = None) -> int:
    """Measure and report. Raises UnmaskError when something cannot be measured."""
    console = console or _console()
    _check(order)
    _check_clip(order, console)
    report: dict[str, Any] = {"schema": SCHEMA, "mode": order.mode, "camera_fps": CAMERA_FPS}
    with metered_parts(order.config, threads=1 if order.compare else None) as metered:
        report |= {"model": metered.parts.model.spec.name, "networks": metered.networks}
        console.print(networks_line(metered))
        bench = _Bench(order, ensure_shaped(order.clip, CLIPS, ClipShape()), metered, console)
        report |= rounded(bench.measured())
    if order.json is not None:
        _write(order.json, report)
    return 0


def _console() -> Console:
    """Tables are wide; a pipe has no width of its own."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


def _check(order: BenchOrder) -> None:
    if order.stall and (order.streams is None or order.streams < 2):
        raise UsageError("--stall freezes one camera and looks at the others: give --streams 2 or more")
    if sum((order.stall, order.compare, order.grow)) > 1:
        raise UsageError("--stall, --compare and --grow are measured one at a time: give one of them")


def _check_clip(order: BenchOrder, console: Console) -> None:
    """The demo's clip is made when it is the one to use and is not there."""
    if order.clip == BenchOrder.clip and not order.clip.is_file():
        console.print("making the demo's clip")
        ensure_clip(order.clip)


def _with_backend(config: AppConfig, backend: str) -> AppConfig:
    return config.model_copy(update={"model": config.model.model_copy(update={"backend": backend})})


def _write(path: Path, report: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; give another path") from error


def compared_s(asked_s: float, window: WindowSpec) -> float:
    """Length of the clip that every way goes through: all must score one whole window of it alike. Pure."""
    return min(max(asked_s, (window.slots + 1) * window.period_s), ClipShape.seconds)


class _Bench:
    """One command's measurements on one set of parts."""

    def __init__(self, order: BenchOrder, clip: Path, metered: Metered, console: Console) -> None:
        self._order, self._clip, self._metered, self._console = order, clip, metered, console

    def measured(self) -> dict[str, Any]:
        if self._order.compare:
            return self._compared()
        if self._order.grow:
            return self._grown()
        if self._order.stall:
            return self._stalled(self._order.streams or 2)
        if self._order.streams is None:
            return self._searched()
        return self._shown(self._trial(self._order.streams, self._order.seconds))

    def _compared(self) -> dict[str, Any]:
        video_s = compared_s(self._order.seconds, self._metered.parts.model.spec.window)
        clip = ensure_shaped(self._order.clip, CLIPS, ClipShape(seconds=video_s))
        config = self._order.config
        with metered_parts(_with_backend(config, ALWAYS), threads=1) as rivals:
            return {"compare": compare(clip, self._metered, rivals, config, self._console)}

    def _grown(self) -> dict[str, Any]:
        """The chart lies beside the JSON, or among the benchmark's clips."""

        def trial(wanted: TrialOrder, clip: Path) -> TrialResult:
            return run_trial(wanted, clip, self._metered, self._order.config)

        order = self._order
        curves = grow(order.clip, CLIPS, order.seconds, order.mode, trial, self._console)
        chart = (order.json or CLIPS / "growth").with_suffix(".png")
        draw_chart(curves, chart)
        self._console.print(f"chart: {chart}")
        return {"grow": curves_json(curves)}

    def _trial(self, count: int, seconds: float) -> TrialResult:
        order = TrialOrder(count, self._order.mode, seconds)
        return run_trial(order, self._clip, self._metered, self._order.config)

    def _searched(self) -> dict[str, Any]:
        """The largest number by short trials, then from it down until one is carried at full length."""
        found = largest(
            lambda count: self._carried(count, min(SEARCH_S, self._order.seconds)) is not None,
            MOST_STREAMS,
            LIKELY[self._order.mode],
        )
        kept: list[TrialResult] = []

        def carries(count: int) -> bool:
            result = self._carried(count, self._order.seconds)
            kept.extend([] if result is None else [result])
            return result is not None

        count = largest_kept(found, carries)
        self._console.print(f"largest number of streams that was carried for {self._order.seconds:g} s: {count}")
        return {"largest": count, **(self._shown(kept[-1]) if kept else {})}

    def _carried(self, count: int, seconds: float) -> TrialResult | None:
        """The trial, if it was carried. Cameras that do not even start are too many, but for a single one."""
        try:
            result = self._trial(count, seconds)
        except SourceError as error:
            if count == 1:
                raise
            self._console.print(f"{count} streams: too many ({error})")
            return None
        missed = missed_by(result)
        told = f"too many ({', '.join(missed)} not kept)" if missed else "carried"
        self._console.print(f"{count} streams, {seconds:g} s: {told}")
        return None if missed else result

    def _shown(self, result: TrialResult) -> dict[str, Any]:
        title = f"{len(result.streams)} x 720p25, {result.mode}, {result.seconds:.0f} s"
        self._console.print(streams_table(result, title))
        self._console.print(process_table(result, "process"))
        for line in process_lines(result):
            self._console.print(line)
        missed = missed_by(result)
        verdict = f"not kept ({', '.join(missed)})" if missed else "kept"
        self._console.print(f"latency bound, full rate and samples: {verdict}")
        return {"carried": not missed, "trial": as_json(result)}

    def _stalled(self, count: int) -> dict[str, Any]:
        """The last camera has a process of its own, which is stopped half-way."""
        order = TrialOrder(count, self._order.mode, self._order.seconds)
        with (
            cameras(self._clip, count - 1) as others,
            cameras(self._clip, 1) as victim,
            watching([*others.urls, *victim.urls], order, self._metered, self._order.config) as run,
        ):
            run.wait_until_playing()
            with viewing(run.served_urls) as viewers:
                time.sleep(WARM_UP_S)
                before = run.measure(order.seconds, [others.process], viewers)
                counts, begin_ns = run.recorder.counts(), time.monotonic_ns()
                victim.freeze()
                time.sleep(order.seconds)
                span_ns = (begin_ns, time.monotonic_ns())
            during = [run.numbers(name, counts, span_ns) for name in run.names]
            state = run.recorder.state[during[-1].name]  # type: ignore[index]
        self._console.print(stall_table(before.streams, during, during[-1].name))
        self._console.print(f"{during[-1].name} at the end: {state.value}")
        return {"before": list(before.streams), "during": during, "frozen": during[-1].name, "state": state.value}


def missed_by(result: TrialResult) -> list[str]:
    """What at least one stream, or its viewer, did not get; empty when all are carried."""
    missed = {miss for stream in result.streams for miss in misses_of(stream, CAMERA_FPS)}
    if not all(fps >= FULL_RATE * CAMERA_FPS for fps in result.viewer_fps):
        missed.add("viewers")
    return sorted(missed)


def as_json(result: TrialResult) -> dict[str, Any]:
    made: dict[str, Any] = rounded(result)
    return {**made, "cpu_outside_per_stream": round(result.cpu_outside, 4)}
