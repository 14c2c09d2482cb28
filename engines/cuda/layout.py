"""The kernels' records, byte for byte as kernels/preprocess.cu declares them, and how they are filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.preprocess import YUV_TO_RGB, Levels, Planes, Square, chroma_corner

BLOCK_WH = (32, 8)
"""Threads of a block: BLOCK_W and BLOCK_H of the kernels."""
FRAME = np.dtype(
    [(name, np.uint64) for name in ("y", "u", "v")]
    + [(name, np.int32) for name in ("width", "height", "y_pitch", "chroma_pitch", "chroma_step", "matrix")]
)
FACE = np.dtype([("frame", FRAME)] + [(name, np.int32) for name in ("left", "top", "extent", "unused")])
LEVELS = np.dtype([("mean", np.float32, 3), ("deviation", np.float32, 3), ("is_bgr", np.int32)])

MATRICES = tuple(YUV_TO_RGB)
"""(matrix, full range) by the number that a frame's record gives."""
UNIT = 1024
"""cv::transform on bytes rounds coefficients to 1/1024 where it has vector instructions: on every machine we run on."""

Record = NDArray[Any]


@dataclass(frozen=True)
class Packed:
    """How a frame lies in one piece of memory, rows without padding: Y, then U and V, or their pairs."""

    width: int
    height: int
    is_paired: bool
    matrix: int

    @property
    def chroma_wh(self) -> tuple[int, int]:
        return (self.width + 1) // 2, (self.height + 1) // 2

    @property
    def luma_size(self) -> int:
        return self.width * self.height

    @property
    def chroma_size(self) -> int:
        """Bytes of one chroma plane without its twin."""
        return self.chroma_wh[0] * self.chroma_wh[1]

    @property
    def size(self) -> int:
        return self.luma_size + 2 * self.chroma_size

    def record(self, address: int) -> Record:
        """(1,) FRAME of a frame that lies at ``address``."""
        step = 2 if self.is_paired else 1
        u = address + self.luma_size
        v = u + 1 if self.is_paired else u + self.chroma_size
        pitches = self.width, step * self.chroma_wh[0]
        return np.array([(address, u, v, self.width, self.height, *pitches, step, self.matrix)], FRAME)

    def fill(self, memory: NDArray[np.uint8], planes: Planes) -> None:
        """Copy the planes, whatever their strides, into ``memory`` of ``size`` bytes."""
        first = 0
        for plane in (planes.y, *planes.chroma):
            np.copyto(memory[first : first + plane.size].reshape(plane.shape), plane)
            first += plane.size


def packed(planes: Planes) -> Packed:
    is_paired = len(planes.chroma) == 1
    return Packed(planes.width, planes.height, is_paired, MATRICES.index((planes.matrix, planes.full_range)))


def face_records(faces: Sequence[tuple[Record, Square]]) -> Record:
    """(N,) FACE of squares on uploaded frames."""
    return np.array([(frame[0], *chroma_corner(square), 0) for frame, square in faces], FACE)


def levels_record(levels: Levels) -> Record:
    return np.array([(levels.mean, levels.std, levels.colour == "bgr")], LEVELS)


def matrices_record() -> NDArray[np.int32]:
    """(4, 3, 4) coefficients in 1/1024; the offset carries the half that rounds."""
    whole = np.stack([YUV_TO_RGB[key] for key in MATRICES]).astype(np.float32)
    whole[..., 3] += 0.5
    return np.rint(whole * UNIT).astype(np.int32)


def grid_over(width: int, height: int, count: int = 1) -> tuple[int, int, int]:
    """Blocks that cover ``count`` pictures of this size."""
    return -(-width // BLOCK_WH[0]), -(-height // BLOCK_WH[1]), count
