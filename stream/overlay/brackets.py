"""The marks around a face. Their shape says the verdict too: corners, a closed frame, or dashes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from engines.preprocess import Bytes
from stream.overlay.ink import OVERSAMPLE, ground, lay
from stream.overlay.palette import PAPER, Frame, Rgb

Rect = tuple[int, int, int, int]


@dataclass(frozen=True)
class Corner:
    """Size of one corner mark, in pixels; all even."""

    arm: int
    stroke: int


def corner_of(width: float, height: float, scale: float, frame: Frame) -> Corner:
    """Arms of about a fifth of the box, in few sizes so that sprites are reused."""
    side = min(width, height)
    arm = min(max(0.22 * side, 8 * scale), 36 * scale)
    stroke = scale * (2 if side < 80 * scale else 4 if frame == "closed" else 3)
    return Corner(max(8, 4 * round(arm / 4)), max(2, 2 * round(stroke / 2)))


@lru_cache(maxsize=64)
def corner_rgba(corner: Corner, rgb: Rgb, opacity: float, index: int) -> Bytes:
    """One corner mark with a thin dark rim, (S, S, 4) with S = arm + 2 strokes.

    ``index``: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
    The middle of its stroke lies one stroke inside the picture, on the box's border.
    """
    rim = max(1, corner.stroke // 3)
    rgba = ground(_corner_mask(corner, rim), PAPER, 0.6 * opacity)
    lay(rgba, _corner_mask(corner, 0), 0, 0, rgb, opacity)
    if opacity < 1:
        rgba[..., 3] = np.minimum(rgba[..., 3], round(255 * opacity))
    flipped = rgba[:: -1 if index >= 2 else 1, :: -1 if index % 2 else 1]
    return np.ascontiguousarray(flipped)


def _corner_mask(corner: Corner, rim: int) -> Bytes:
    side, unit = (corner.arm + 2 * corner.stroke) * OVERSAMPLE, OVERSAMPLE
    mask = np.zeros((side, side), np.uint8)
    centre, radius = corner.stroke * unit, min(corner.stroke * 2, corner.arm // 2) * unit
    width = (corner.stroke + 2 * rim) * unit
    end = corner.arm * unit
    cv2.ellipse(mask, (centre + radius, centre + radius), (radius, radius), 180, 0, 90, 255, width, cv2.LINE_AA)
    cv2.line(mask, (centre, centre + radius), (centre, end), 255, width, cv2.LINE_AA)
    cv2.line(mask, (centre + radius, centre), (end, centre), 255, width, cv2.LINE_AA)
    size = corner.arm + 2 * corner.stroke
    return np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def edges(box: Rect, corner: Corner, frame: Frame) -> list[Rect]:
    """Straight pieces between the corners: whole sides of a closed frame, dashes, or nothing."""
    if frame == "brackets":
        return []
    left, top, right, bottom = box
    thick, arm = max(2, corner.stroke // 2 // 2 * 2), corner.arm - corner.stroke  # corners cover the ends
    horizontal = _pieces(left + arm, right - arm, corner, frame)
    vertical = _pieces(top + arm, bottom - arm, corner, frame)
    across = [(a, y, b, y + thick) for a, b in horizontal for y in (top - thick // 2, bottom - thick // 2)]
    down = [(x, a, x + thick, b) for a, b in vertical for x in (left - thick // 2, right - thick // 2)]
    return across + down


def _pieces(start: int, end: int, corner: Corner, frame: Frame) -> list[tuple[int, int]]:
    """Closed: one piece. Dashed: dashes of two strokes and a half, evenly spread, with gaps at both ends."""
    if end <= start:
        return []
    if frame == "closed":
        return [(start, end)]
    dash = max(4, round(2.5 * corner.stroke))
    count = min((end - start - dash) // (2 * dash), 12)
    if count < 1:
        return []
    pitch = (end - start) / count
    middles = [start + pitch * (index + 0.5) for index in range(count)]
    return [(round(middle - dash / 2), round(middle + dash / 2)) for middle in middles]
