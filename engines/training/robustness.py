"""How AUC falls when the pictures get worse: each degradation of a video's way, applied before the cropper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.training.bootstrap import intervals
from engines.training.degrade import add_noise, as_rgb, jpeg
from engines.training.errors import TrainingError
from engines.training.metrics import roc_auc
from engines.training.scored import Item, Scored
from engines.training.still_scores import OnItems, StillScorer, score_stills
from engines.training.stills import Still, open_stills

Rgb = NDArray[np.uint8]
Rng = np.random.Generator
_RESAMPLES = 200


@dataclass(frozen=True)
class Degradation:
    """One way to make a picture worse, at levels from mild to harsh."""

    name: str
    unit: str
    levels: tuple[float, ...]
    apply: Callable[[Rng, Rgb, float], Rgb]


@dataclass(frozen=True)
class Step:
    """AUC at one level; at ``level`` None the pictures are as they are."""

    degradation: str
    level: float | None
    auc: float
    interval: tuple[float, float]


def resized(_rng: Rng, rgb: Rgb, scale: float) -> Rgb:
    """Down to ``scale`` of the side, as a smaller face would come; the cropper brings it up to size."""
    height, width = rgb.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return as_rgb(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def blurred(_rng: Rng, rgb: Rgb, sigma_px: float) -> Rgb:
    return as_rgb(cv2.GaussianBlur(rgb, (0, 0), sigma_px))


def h264(_rng: Rng, rgb: Rgb, crf: float) -> Rgb:
    """One intra frame through x264 at constant rate factor ``crf``, 4:2:0. Sides are cut to even numbers."""
    import av

    height, width = (side // 2 * 2 for side in rgb.shape[:2])
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = width, height, "yuv420p", 25
    encoder.options = {"crf": str(round(crf)), "preset": "fast", "tune": "zerolatency", "threads": "1"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb[:height, :width]), format="rgb24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder: Any = av.CodecContext.create("h264", "r")
    decoded = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
    return as_rgb(decoded[0].to_ndarray(format="rgb24"))


DEGRADATIONS = (
    Degradation("JPEG", "quality", (95, 85, 75, 60, 45, 30), lambda _, rgb, level: jpeg(rgb, int(level))),
    Degradation("H.264", "CRF", (18, 23, 28, 34, 40), h264),
    Degradation("scale", "of the side", (0.75, 0.5, 0.35, 0.25), resized),
    Degradation("blur", "sigma in px", (0.5, 1, 2, 3), blurred),
    Degradation("noise", "sigma of 255", (3, 6, 12, 24), add_noise),
)
PASSES = 1 + sum(len(one.levels) for one in DEGRADATIONS)
"""How often every picture is scored."""


def require_codecs() -> None:
    """Raise TrainingError when the package that encodes H.264 is missing: before the long run, not in it."""
    try:
        import av  # noqa: F401 - whether it is there
    except ImportError:
        raise TrainingError("H.264 needs PyAV, which is not installed: pip install 'unmask[train]'") from None


def robustness(root: Path, items: tuple[Item, ...], scorer: StillScorer, on_items: OnItems) -> list[Step]:
    """The clean pictures first, then every level of every degradation."""

    def auc_of(stills: Iterator[Still], name: str, level: float | None) -> Step:
        scored = score_stills(stills, scorer, on_items).scored
        return Step(name, level, roc_auc(scored.labels, scored.logits), _interval(scored))

    steps = [auc_of(open_stills(root, items), "none", None)]
    for one in DEGRADATIONS:
        steps += [auc_of(_degraded(root, items, one, level), one.name, level) for level in one.levels]
    return steps


def _degraded(root: Path, items: tuple[Item, ...], how: Degradation, level: float) -> Iterator[Still]:
    """Each picture with its own generator, so that every model sees the same noise."""
    for number, still in enumerate(open_stills(root, items)):
        yield replace(still, rgb=how.apply(np.random.default_rng((7, number)), still.rgb, level))


def _interval(scored: Scored) -> tuple[float, float]:
    found = intervals(scored.labels, scored.probabilities, scored.sources, resamples=_RESAMPLES)
    return found["auc"]
