"""Frames of noise in every form a decoder may give them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from engines.preprocess import Planes

KINDS: list[tuple[Literal["bt601", "bt709"], bool, bool]] = [
    (matrix, full, paired) for matrix in ("bt601", "bt709") for full in (False, True) for paired in (False, True)
]
"""Matrix, full range, NV12."""


def noise_planes(
    width: int, height: int, kind: tuple[Any, bool, bool] = KINDS[0], *, pad: int = 0, seed: int = 0
) -> Planes:
    """Every byte at random, the hardest picture to resize alike; rows lie ``pad`` bytes apart from the next."""
    rng = np.random.default_rng(seed)

    def plane(*shape: int) -> np.ndarray[Any, Any]:
        wide = rng.integers(0, 256, (shape[0], shape[1] + pad, *shape[2:]), dtype=np.uint8)
        wide.flags.writeable = False
        return wide[:, : shape[1]]

    half = (height + 1) // 2, (width + 1) // 2
    matrix, full, paired = kind
    chroma = (plane(*half, 2),) if paired else (plane(*half), plane(*half))
    return Planes(plane(height, width), chroma, matrix, full)
