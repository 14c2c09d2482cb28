"""How sharp the training crops are, as they are and spoilt: where ``QualityLimits.min_sharpness`` comes from.

    .venv/bin/python -m bench.face_quality --data ../shared/data

Printed per way of spoiling: the ``sharpness`` of the crops as 2 %, 10 %, median and 90 %, and the share that the
shipped limit turns away. A crop counts as cut from as many pixels as it is shrunk to, or 155 (the usual native side).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from bench.crop_geometry import CROP_SIZE, read_crops
from engines.preprocess import Bytes
from stream.errors import UnmaskError
from stream.faces.quality import QualityLimits, sharpness

NATIVE_PX = 155
"""Median ``original_width`` in the data's metadata.csv."""

Spoiling = Callable[[Bytes], Bytes]


def as_is(rgb: Bytes) -> Bytes:
    return rgb


def blurred(sigma_px: float) -> Spoiling:
    """Out of focus by ``sigma_px`` at 224 px."""
    return lambda rgb: np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)


def smeared(length_px: int) -> Spoiling:
    """Moved sideways by ``length_px`` at 224 px while the shutter was open."""
    kernel = np.full((1, length_px), 1 / length_px, np.float32)
    return lambda rgb: np.asarray(cv2.filter2D(rgb, -1, kernel), np.uint8)


def compressed(quality: int) -> Spoiling:
    def spoil(rgb: Bytes) -> Bytes:
        encoded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)

    return spoil


def shrunk(side_px: int) -> Spoiling:
    """Cut from ``side_px`` pixels of a frame and enlarged to the network's size."""

    def spoil(rgb: Bytes) -> Bytes:
        small = cv2.resize(rgb, (side_px, side_px), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)

    return spoil


WAYS: dict[str, tuple[Spoiling, int]] = {
    "as it is": (as_is, NATIVE_PX),
    **{f"JPEG quality {quality}": (compressed(quality), NATIVE_PX) for quality in (50, 30, 15)},
    **{f"cut from {side} px": (shrunk(side), side) for side in (128, 96, 64, 48)},
    **{f"blurred, sigma {sigma} px": (blurred(sigma), NATIVE_PX) for sigma in (1, 2, 3, 4, 6, 8)},
    **{f"moved by {length} px": (smeared(length), NATIVE_PX) for length in (9, 17, 33)},
    "sigma 4, cut from 64 px": (lambda rgb: shrunk(64)(blurred(4)(rgb)), 64),
    "96 px enlarged to 155": (shrunk(96), NATIVE_PX),
    "48 px enlarged to 155": (shrunk(48), NATIVE_PX),
    "32 px enlarged to 155": (shrunk(32), NATIVE_PX),
}


def sharpness_of(crops: Sequence[Bytes], spoil: Spoiling, side_px: int) -> list[float]:
    return [sharpness(np.asarray(cv2.cvtColor(spoil(rgb), cv2.COLOR_RGB2GRAY), np.uint8), side_px) for rgb in crops]


def table_line(name: str, values: Sequence[float], limit: float) -> str:
    low, lower, middle, high = np.percentile(values, [2, 10, 50, 90])
    refused = np.mean(np.array(values) < limit)
    return f"{name:26} {low:6.3f} {lower:6.3f} {middle:6.3f} {high:6.3f}   refused {refused:5.1%}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.face_quality", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds deepfake-faces/")
    parser.add_argument("--count", type=int, default=300, help="crops to measure")
    options = parser.parse_args(arguments)
    try:
        crops = read_crops(options.data, options.count)
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for name, (spoil, side_px) in WAYS.items():
        print(table_line(name, sharpness_of(crops, spoil, side_px), QualityLimits().min_sharpness))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
