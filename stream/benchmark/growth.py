"""``--grow``: what one more stream, face or pixel costs, told from the stages and drawn as one picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

from stream.benchmark.observations import StreamNumbers
from stream.benchmark.trial import CAMERA_FPS, TrialOrder, TrialResult
from stream.gst.clip_making import ClipShape, ensure_shaped

STREAMS = (1, 2, 4, 8, 16)
FACES = (1, 5, 10, 20)
SIZES = ((854, 480), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))
COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#444444")
PANEL_WH, MARGIN = (420, 300), 56
SMALL_SHARE = 0.05
FULL_SAMPLING = 0.95
SAMPLED = ("detect", "embed", "head", "analysis")
"""Stages whose work goes with the samples that are taken, not with the frames that come."""


@dataclass(frozen=True)
class Point:
    """One measured place on a curve. CPU in milliseconds for a frame that the cameras sent."""

    at: float
    """Streams, faces or megapixels."""
    label: str
    stages_ms: dict[str, float]
    fps_share: float
    """Of the camera's rate that was kept: below 1 the machine was full and a frame's cost is not a frame's need."""
    latency_p95_ms: float
    faces_per_s: float
    """Embedded, all streams."""
    sampled_share: float = 1.0
    """Samples taken of those that the faces want: below 1 the networks' stages do less, not cheaper, work."""

    @property
    def total_ms(self) -> float:
        return sum(self.stages_ms.values())


@dataclass(frozen=True)
class Curve:
    """How the cost of a frame grows with one thing."""

    what: str
    points: tuple[Point, ...]

    @property
    def sentence(self) -> str:
        return explained(self.what, self.points)


def point_of(at: float, label: str, result: TrialResult, camera_fps: float = CAMERA_FPS) -> Point:
    frames_per_s = sum(stream.fps for stream in result.streams)
    stages = {stage: 1e3 * share / frames_per_s if frames_per_s else 0.0 for stage, share in result.stages.items()}
    kept = frames_per_s / (camera_fps * len(result.streams))
    slowest = max(stream.latency_p95_ms for stream in result.streams)
    return Point(at, label, stages, kept, slowest, result.embeds_per_s, sampled_share(result.streams))


def sampled_share(streams: Sequence[StreamNumbers]) -> float:
    wanted = sum(stream.samples_wanted for stream in streams)
    return sum(stream.samples for stream in streams) / wanted if wanted else float("nan")


def explained(what: str, points: Sequence[Point]) -> str:
    """From the first point to the last: the growth, and the stages that make it. Pure."""
    first, last = points[0], points[-1]
    rise = last.total_ms - first.total_ms
    changes = {stage: last.stages_ms.get(stage, 0.0) - value for stage, value in first.stages_ms.items()}
    idle = _idle(first, last, changes)
    parts = sorted(((stage, change) for stage, change in changes.items() if stage not in idle), key=_by_size)
    told = [f"{stage} {change:+.2f} ms" for stage, change in parts if abs(change) > SMALL_SHARE * max(abs(rise), 1e-9)]
    ending = "" if last.fps_share >= 0.98 else f"; at {last.label} only {last.fps_share:.0%} of the frames were kept"
    if idle:
        ending += (
            f"; at {last.label} only {last.sampled_share:.0%} of the samples were taken: "
            f"{', '.join(idle)} did less, at no lower cost"
        )
    return (
        f"{what}: a frame costs {first.total_ms:.2f} ms of CPU at {first.label} and {last.total_ms:.2f} ms at "
        f"{last.label} ({rise:+.2f} ms: {', '.join(told[:4]) or 'no stage stands out'}){ending}."
    )


def _by_size(part: tuple[str, float]) -> float:
    return -abs(part[1])


def _idle(first: Point, last: Point, changes: dict[str, float]) -> list[str]:
    """Stages whose cost fell only with the number of samples; a share that is not known counts as fewer."""
    is_thinned = not last.sampled_share >= FULL_SAMPLING * first.sampled_share
    return [stage for stage in SAMPLED if is_thinned and changes.get(stage, 0.0) < 0]


Trial = Callable[[TrialOrder, Path], TrialResult]


def grow(source: Path, folder: Path, seconds: float, mode: str, trial: Trial, console: Console) -> list[Curve]:
    """Measure the three curves; prints each as it is done."""
    curves = []
    for what, places in _places(source, folder):
        points = []
        for at, label, streams, clip in places:
            result = trial(TrialOrder(streams, mode, seconds), clip)
            points.append(point_of(at, label, result))
        curves.append(Curve(what, tuple(points)))
        console.print(growth_table(curves[-1]))
        console.print(curves[-1].sentence)
    return curves


def _places(source: Path, folder: Path) -> Iterator[tuple[str, Iterator[tuple[float, str, int, Path]]]]:
    """Clips are made when their turn comes and kept: nothing is scaled while something is measured."""
    plain = ensure_shaped(source, folder, ClipShape())
    yield "streams", ((count, _counted(count, "stream"), count, plain) for count in STREAMS)
    tiled = ((count, ensure_shaped(source, folder, ClipShape(tiles=count))) for count in FACES)
    yield "faces", ((count, _counted(count, "face"), 1, clip) for count, clip in tiled)
    sized = ((size, ensure_shaped(source, folder, ClipShape(*size))) for size in SIZES)
    yield "picture", ((size[0] * size[1] / 1e6, f"{size[1]}p", 1, clip) for size, clip in sized)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def growth_table(curve: Curve) -> Table:
    stages = list(curve.points[0].stages_ms)
    table = Table(title=f"CPU ms a frame by {curve.what}", title_justify="left", box=None, header_style="dim")
    for place, heading in enumerate(("", *stages, "all", "fps kept", "sampled", "p95 ms", "faces/s")):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for point in curve.points:
        costs = [f"{point.stages_ms.get(stage, 0.0):.2f}" for stage in stages]
        shares = (f"{point.fps_share:.0%}", f"{point.sampled_share:.0%}")
        ends = (f"{point.total_ms:.2f}", *shares, f"{point.latency_p95_ms:.0f}")
        table.add_row(point.label, *costs, *ends, f"{point.faces_per_s:.0f}")
    return table


def curves_json(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    return [{"what": curve.what, "sentence": curve.sentence, "points": list(curve.points)} for curve in curves]


def draw_chart(curves: Sequence[Curve], path: Path) -> None:
    """A panel per curve, a bar per point, its stages on top of each other."""
    width, height = PANEL_WH
    picture = Image.new("RGB", (width * len(curves), height + 40), "white")
    draw = ImageDraw.Draw(picture)
    stages = list(dict.fromkeys(stage for curve in curves for point in curve.points for stage in point.stages_ms))
    for place, curve in enumerate(curves):
        _draw_panel(draw, curve, place * width, stages)
    _draw_legend(draw, stages, height + 10)
    picture.save(path)


def _draw_panel(draw: ImageDraw.ImageDraw, curve: Curve, left: int, stages: Sequence[str]) -> None:
    width, height = PANEL_WH
    top_ms = max(max(point.total_ms for point in curve.points), 1e-6)
    scale = (height - 2 * MARGIN) / top_ms
    step = (width - 2 * MARGIN) / len(curve.points)
    draw.text((left + MARGIN, 14), f"CPU ms a frame by {curve.what}", fill="black", font=_font(14))
    for place, point in enumerate(curve.points):
        x, floor = left + MARGIN + place * step, float(height - MARGIN)
        for stage, colour in zip(stages, COLOURS, strict=False):
            rise = max(0.0, point.stages_ms.get(stage, 0.0)) * scale
            draw.rectangle((x, floor - rise, x + 0.7 * step, floor), fill=colour)
            floor -= rise
        draw.text((x, floor - 16), f"{point.total_ms:.1f}", fill="black", font=_font(11))
        draw.text((x, height - MARGIN + 6), point.label, fill="black", font=_font(10))


def _draw_legend(draw: ImageDraw.ImageDraw, stages: Sequence[str], top: int) -> None:
    for place, (stage, colour) in enumerate(zip(stages, COLOURS, strict=False)):
        left = MARGIN + 120 * place
        draw.rectangle((left, top, left + 12, top + 12), fill=colour)
        draw.text((left + 18, top - 1), stage, fill="black", font=_font(12))


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
