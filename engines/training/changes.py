"""Where on a face a forgery has changed it: what the localising branch of a training run learns from.

Most fakes of the data set are the very frame of their real, so the difference of the two shows the forged area. Maps
are coarse, one cell for each cell of the network's last feature map; a cell of NaN is unknown.
"""

from __future__ import annotations

import cv2
import numpy as np

from engines.training.degrade import Floats, Rgb

STRIDE_PX = 32
"""Of the network's last feature map."""
_SIDE = 112
"""Pictures are compared at this size: compression noise averages out."""
_RIM = 12
"""Width of the rim, which a swap leaves alone, in pixels of the compared pictures."""
_SAME_RIM = 0.97
"""Correlation of two rims above which they are of one frame."""
_SOFTEN_PX = 2.0
_CLEAR = 8.0
"""Difference, on the 0-255 scale and above the rim's own, that is surely a change."""
_CELL_GAIN = 3.0
"""A third of a cell changed counts as a changed cell."""


def changed_part(real: Rgb, fake: Rgb) -> Floats | None:
    """(112, 112) in 0-1, 1 where ``fake`` differs from ``real`` more than compression explains; both (H, H, 3).

    None when the two are not of one frame.
    """
    one, other = _compared(real), _compared(fake)
    rim = np.ones((_SIDE, _SIDE), bool)
    rim[_RIM : -_RIM // 2, _RIM:-_RIM] = False
    if not _alike(one[rim], other[rim]):
        return None
    difference = np.abs(one - other).mean(2)
    difference = np.asarray(cv2.GaussianBlur(difference, (0, 0), _SOFTEN_PX), np.float32)
    noise = float(np.percentile(difference[rim], 70))
    return np.asarray(np.clip((difference - 1.5 * noise - 1) / _CLEAR, 0, 1), np.float32)


def cells(part: Floats, size: int) -> Floats:
    """(G, G) map of an area drawn on the network's input, for an input of ``size`` pixels."""
    grid = grid_of(size)
    means = cv2.resize(part, (grid, grid), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(_CELL_GAIN * means, 0, 1), np.float32)


def unknown(size: int) -> Floats:
    """The map of a picture of which nothing is known."""
    return np.full((grid_of(size),) * 2, np.nan, np.float32)


def untouched(size: int) -> Floats:
    """The map of a genuine picture."""
    return np.zeros((grid_of(size),) * 2, np.float32)


def grid_of(size: int) -> int:
    """Cells along a side."""
    return -(-size // STRIDE_PX)


def _compared(rgb: Rgb) -> Floats:
    return np.asarray(cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)


def _alike(one: Floats, other: Floats) -> bool:
    grey = one.mean(-1), other.mean(-1)
    if min(values.std() for values in grey) < 1:
        return False  # a flat rim tells nothing
    return bool(np.corrcoef(*grey)[0, 1] > _SAME_RIM)
