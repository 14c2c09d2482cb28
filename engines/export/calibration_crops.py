"""Pictures of faces to calibrate int8 on and to compare engines with, from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import CheckpointError
from engines.jpeg import rgb_from_picture
from engines.preprocess import Bytes

PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
KINDS = {"real": 0, "fake": 1}
"""Subfolders that label a set, and what they say."""
SEED = 20


@dataclass(frozen=True, repr=False)
class CalibrationSet:
    """Crops and, where the folder tells, what they are."""

    crops: Bytes
    """(N, S, S, 3) RGB."""
    labels: NDArray[np.int64] | None = None
    """(N,) 1 = fake."""

    def __len__(self) -> int:
        return len(self.crops)

    def __repr__(self) -> str:
        return f"CalibrationSet({len(self)})"


def read_crops(folder: Path, size: int, *, limit: int = 256) -> CalibrationSet:
    """At most ``limit`` pictures of a folder, spread over its sorted names, scaled to ``size`` pixels square.

    With ``real/`` and ``fake/`` in it the set is labelled, and each gives half. Raises CheckpointError when there is
    no picture, or one that cannot be read.
    """
    folders = {label: folder / kind for kind, label in KINDS.items()}
    is_labelled = all(path.is_dir() for path in folders.values())
    groups = folders if is_labelled else {0: folder}
    share = max(limit // len(groups), 1)
    found = [(path, label) for label, place in groups.items() for path in _spread(_pictures(place), share)]
    crops = np.stack([_crop(path, size) for path, _ in found])
    return CalibrationSet(crops, np.array([label for _, label in found], np.int64) if is_labelled else None)


def stand_in_crops(count: int, size: int) -> CalibrationSet:
    """Smooth noise over gradients, the same each time: *not faces*, so ranges found on them are not a face's.

    For trying a build where no crops are at hand; an engine to be used wants real ones.
    """
    rng = np.random.default_rng(SEED)
    return CalibrationSet(np.stack([_smooth(rng, size) for _ in range(count)]))


def _smooth(rng: np.random.Generator, size: int) -> Bytes:
    coarse = rng.uniform(0, 255, (6, 6, 3)).astype(np.float32)
    noise = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    ramp = np.linspace(rng.uniform(0, 128), rng.uniform(128, 255), size, dtype=np.float32)[:, None, None]
    grain = rng.normal(0, 4, (size, size, 3))
    return np.asarray(np.clip(0.6 * noise + 0.4 * ramp + grain, 0, 255), np.uint8)


def _pictures(folder: Path) -> Iterator[Path]:
    """Every picture in the folder or below it. Raises CheckpointError when there is none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise CheckpointError(f"no pictures to calibrate on under {folder}: give a folder of face crops")
    yield from found


def _spread(paths: Iterator[Path], count: int) -> list[Path]:
    every = list(paths)
    rows = np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).astype(int))
    return [every[row] for row in rows]


def _crop(path: Path, size: int) -> Bytes:
    rgb = rgb_from_picture(path.read_bytes())
    if rgb is None:
        raise CheckpointError(f"{path} is no picture that can be read: take it out of the calibration folder")
    smaller = min(rgb.shape[:2]) > size
    scaled = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(scaled, np.uint8)
