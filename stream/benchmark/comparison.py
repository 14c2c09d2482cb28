"""``--compare``: the same scores first, then every way in turn over the same clip, several times, and the ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engines.catalog import DEFAULT_MODEL, model_folder
from engines.errors import EngineError
from stream.benchmark.rivals import (
    Embedder,
    Pace,
    Sameness,
    WayRun,
    clip_seconds,
    first_crops,
    opencv_frames,
    pace_of,
    run_ours,
    run_per_frame,
    run_recomputed,
    same_window,
    threaded_frames,
    timed,
    torch_networks,
)
from stream.benchmark.trial import CAMERA_FPS, Metered
from stream.config import AppConfig
from stream.errors import ModelError
from stream.parts import Parts

OURS = "ours"
RECOMPUTED = "(a) PyTorch, 20 again"
PER_FRAME = "(b) every frame"
THREADED = "(c) (b) + reader thread"
ROUNDS = 3
SAMPLING = (
    "ours ran as on a live camera, as fast as it goes: every slot of the face is sampled, none is thinned out; scores "
    "count, for every way, from the slot on at which the model has its min_samples"
)
TORCH_TOLERANCE = 0.02
"""Logits of the same crops in PyTorch and in ONNX Runtime."""
PRECISION_TOLERANCE = {"fp32": 0.02, "fp16": 0.1, "bf16": 0.5, "int8": 1.0}
"""Logits of the same crops by what runs ours and by ONNX Runtime in float32: what an engine may cost (engines.md)."""
CROP_TOLERANCE = 0.5
"""Logits of crops cut from YUV planes and from a BGR picture: decoders and rounding differ."""


@dataclass(frozen=True)
class Standing:
    """One way's sum over the rounds, and ours against it."""

    way: str
    scores_per_wall_s: float
    scores_per_cpu_s: float
    video_per_cpu_s: float
    """Seconds of video gone through in a second of CPU: how many such cameras a core carries."""
    all_scores: int
    slot_scores: int
    ours_is_times_wall: float
    ours_is_times_cpu: float
    ours_is_times_wall_all: float
    """As ``ours_is_times_wall``, all of its scores counted, not one a slot."""
    ours_is_times_cpu_all: float


def standings(runs: Sequence[WayRun]) -> list[Standing]:
    """In the order of their first runs; ours must be among them. Pure."""
    ways = list(dict.fromkeys(run.way for run in runs))
    sums = {way: _sum([run for run in runs if run.way == way]) for way in ways}
    ours = sums[OURS]
    return [
        Standing(
            way,
            run.slot_scores / run.wall_s,
            run.slot_scores / run.cpu_s,
            run.video_s / run.cpu_s,
            run.all_scores,
            run.slot_scores,
            _ratio(ours.slot_scores / ours.wall_s, run.slot_scores / run.wall_s),
            _ratio(ours.slot_scores / ours.cpu_s, run.slot_scores / run.cpu_s),
            _ratio(ours.all_scores / ours.wall_s, run.all_scores / run.wall_s),
            _ratio(ours.all_scores / ours.cpu_s, run.all_scores / run.cpu_s),
        )
        for way, run in sums.items()
    ]


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else float("nan")


def _sum(runs: Sequence[WayRun]) -> WayRun:
    return WayRun(
        runs[0].way,
        sum(run.video_s for run in runs),
        sum(run.wall_s for run in runs),
        sum(run.cpu_s for run in runs),
        sum(run.slot_scores for run in runs),
        sum(run.all_scores for run in runs),
    )


def compare(
    clip: Path, metered: Metered, rivals: Metered, config: AppConfig, console: Console, *, rounds: int = ROUNDS
) -> dict[str, Any]:
    """``rivals``: the same weights and detector on ONNX Runtime, for (b) and (c).

    Raises ModelError when the ways do not score alike: then their speeds say nothing.
    """
    parts = metered.parts
    pace = pace_of(parts, CAMERA_FPS)
    networks, reason = _torch(parts, config)
    same = same_window(clip, rivals.detector, parts, rivals.parts, pace, networks)
    _say_same(same, metered, reason, console)
    _refuse_unlike(same, parts.model.precision)
    ways = _ways(clip, parts, rivals, config, pace, networks)
    video_s = clip_seconds(clip)
    runs = [timed(way, run, video_s) for _ in range(rounds) for way, run in ways.items()]
    table = standings(runs)
    console.print(_table(table, rounds))
    console.print(SAMPLING)
    return {
        "sampling": SAMPLING,
        "same": asdict(same) | {"torch_difference": same.torch_difference},
        "rivals": rivals.networks,
        "skipped": reason,
        "standings": table,
        "runs": runs,
    }


def _torch(parts: Parts, config: AppConfig) -> tuple[Embedder | None, str | None]:
    """The PyTorch side, or why there is none."""
    chosen = str(config.model.folder or config.model.name or DEFAULT_MODEL)
    try:
        return torch_networks(parts, model_folder(chosen)), None
    except ModuleNotFoundError as error:
        return None, f"{error.name} is not installed (the train extra)"
    except EngineError as error:
        return None, str(error)


def _say_same(same: Sameness, ours: Metered, reason: str | None, console: Console) -> None:
    torch = f"PyTorch {same.recomputed:+.4f}" if same.recomputed is not None else f"(a) left out: {reason}"
    console.print(
        f"one window, logits: ONNX Runtime on BGR crops {same.per_frame:+.4f}, {torch}, "
        f"ours ({ours.networks['backbone']}) on the same crops {same.ours_on_their_crops:+.4f}, "
        f"on its own from YUV {same.ours:+.4f} "
        f"(crops differ by {same.crop_difference:.2f} of 255)"
    )


def _refuse_unlike(same: Sameness, precision: str = "fp32") -> None:
    """``precision``: of what runs ours."""
    allowed_of_ours = PRECISION_TOLERANCE[precision]
    differences = {
        "PyTorch and ONNX Runtime": (same.torch_difference or 0.0, TORCH_TOLERANCE),
        "one by one and in a batch": (abs(same.ours_on_their_crops - same.per_frame), allowed_of_ours),
        "YUV and BGR crops": (abs(same.ours - same.ours_on_their_crops), CROP_TOLERANCE),
    }
    for what, (found, allowed) in differences.items():
        if found > allowed:
            raise ModelError(f"{what} differ by {found:.3f} in the logit, more than {allowed}: nothing to compare")


def _ways(
    clip: Path, parts: Parts, rivals: Metered, config: AppConfig, pace: Pace, networks: Embedder | None
) -> dict[str, Callable[[], tuple[int, int]]]:
    theirs, detector = rivals.parts, rivals.detector
    ways: dict[str, Callable[[], tuple[int, int]]] = {OURS: lambda: run_ours(clip, parts, config)}
    if networks is not None:
        filled = first_crops(clip, detector, theirs, pace)
        ways[RECOMPUTED] = lambda: run_recomputed(opencv_frames(clip), detector, theirs, pace, networks, filled)
    ways[PER_FRAME] = lambda: run_per_frame(opencv_frames(clip), detector, theirs, pace)
    ways[THREADED] = lambda: run_per_frame(threaded_frames(clip), detector, theirs, pace)
    return ways


def _table(rows: Sequence[Standing], rounds: int) -> Table:
    table = Table(title=f"the same clip, {rounds} rounds in turn", title_justify="left", box=None, header_style="dim")
    for place, heading in enumerate(
        ("way", "scores/s", "scores/CPU s", "video s/CPU s", "slots of all", "ours: wall", "CPU", "all: wall", "CPU")
    ):
        table.add_column(heading, justify="right" if place else "left", no_wrap=not place)
    for row in rows:
        rates = (row.scores_per_wall_s, row.scores_per_cpu_s, row.video_per_cpu_s)
        by_slot, by_all = (
            (row.ours_is_times_wall, row.ours_is_times_cpu),
            (row.ours_is_times_wall_all, row.ours_is_times_cpu_all),
        )
        ratios = (f"{ratio:.2f} x" for ratio in (*by_slot, *by_all))
        table.add_row(row.way, *(f"{rate:.2f}" for rate in rates), f"{row.slot_scores} of {row.all_scores}", *ratios)
    return table
