"""What verdicts look like: colour, shape and word together, so that no meaning hangs on colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream.types import QualityReason, StreamState, Verdict

Rgb = tuple[int, int, int]
Icon = Literal["check", "cross", "question", "dots"]
Frame = Literal["brackets", "closed", "dashed"]

PAPER: Rgb = (13, 17, 23)
"""Ground of every panel."""
PAPER_OPACITY = 0.84
"""White text keeps a contrast above 9:1 even when the picture behind is pure white."""
TEXT: Rgb = (255, 255, 255)
QUIET_TEXT: Rgb = (205, 211, 220)
FAINT: Rgb = (120, 130, 145)
STALE: Rgb = (160, 166, 175)


@dataclass(frozen=True)
class OverlayStyle:
    """Numbers that the drawing needs and that are not its own to choose."""

    fake_at: float = 0.65
    real_at: float = 0.35
    stale_after_s: float = 1.5
    """Scores older than this are drawn as stale."""
    history_s: float = 30.0
    """Width of the sparkline."""
    follow_s: float = 0.3
    """Longest time a box follows its velocity."""


@dataclass(frozen=True)
class Look:
    """How one verdict is shown."""

    word: str
    rgb: Rgb
    icon: Icon
    frame: Frame


LOOKS = {
    Verdict.WARMING_UP: Look("Warming up", (140, 178, 232), "dots", "brackets"),
    Verdict.REAL: Look("Real", (52, 211, 138), "check", "brackets"),
    Verdict.UNSURE: Look("Unsure", (255, 190, 60), "question", "dashed"),
    Verdict.FAKE: Look("Fake", (255, 92, 80), "cross", "closed"),
}

REASONS = {
    QualityReason.TOO_SMALL: "too small",
    QualityReason.BLURRED: "blurred",
    QualityReason.DARK: "too dark",
    QualityReason.CUT_OFF: "cut off",
    QualityReason.LOW_CONFIDENCE: "barely a face",
    QualityReason.DAMAGED: "broken picture",
}

STATE_COLOURS: dict[StreamState, Rgb] = {
    StreamState.CONNECTING: LOOKS[Verdict.WARMING_UP].rgb,
    StreamState.PLAYING: LOOKS[Verdict.REAL].rgb,
    StreamState.RECONNECTING: LOOKS[Verdict.UNSURE].rgb,
    StreamState.ENDED: STALE,
    StreamState.FAILED: LOOKS[Verdict.FAKE].rgb,
}


@lru_cache(maxsize=8)
def yuv_matrix(matrix: str, full_range: bool) -> NDArray[np.float32]:
    """(3, 4) affine map from R, G, B bytes to Y, U, V bytes (ITU-R BT.601-7 and BT.709-6, section 3)."""
    kr, kb = (0.2126, 0.0722) if matrix == "bt709" else (0.299, 0.114)
    luma_gain, luma_zero = (1.0, 0.0) if full_range else (219 / 255, 16.0)
    chroma_gain = 1.0 if full_range else 224 / 255
    luma = np.array([kr, 1 - kr - kb, kb])
    u = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kb)) * chroma_gain
    v = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kr)) * chroma_gain
    linear = np.stack([luma * luma_gain, u, v])
    return np.hstack([linear, [[luma_zero], [128.0], [128.0]]]).astype(np.float32)


@lru_cache(maxsize=64)
def yuv_from_rgb(rgb: Rgb, matrix: str, full_range: bool) -> tuple[int, int, int]:
    """One colour as Y, U, V bytes."""
    affine = yuv_matrix(matrix, full_range)
    y, u, v = (int(value) for value in np.clip(np.rint(affine[:, :3] @ np.array(rgb) + affine[:, 3]), 0, 255))
    return y, u, v
