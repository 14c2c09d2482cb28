"""The canary's clips, made from the demo's material: ``python -m stream.demo.canary_clips`` writes them to its output.

Run by ``unmask watch`` at its start as a process of its own: the pictures stay in their packages, and what makes a
face swap is no part of the live path.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import cv2
import numpy as np

from engines.jpeg import jpeg_from_rgb
from engines.preprocess import Bytes
from stream.canary.clips import LABELS, PICTURES, CanaryClip, npz_of
from stream.demo.clip import FPS, Part, Truth, frames_of
from stream.errors import UnmaskError

EVERY = 6
"""Frames of the demo's clip from one picture to the next: 0.2 s, as the default model samples."""
SIZE_WH = (960, 540)
QUALITY = 80
"""Compressed as a camera compresses: without, the portrait's enlarged grain looks like nothing a camera sends."""


def make_clips() -> tuple[CanaryClip, ...]:
    """Genuine and swapped. Raises MissingPartError when the demo's material is not installed."""
    return tuple(CanaryClip(name, tuple(jpeg_from_rgb(rgb, QUALITY) for rgb in _pictures(name))) for name in LABELS)


def _pictures(name: str) -> Iterator[Bytes]:
    length_s = PICTURES * EVERY / FPS
    truth = Truth((Part(name, LABELS[name], 0.0, length_s),))
    for rgb in frames_of(truth, every=EVERY):
        yield np.asarray(cv2.resize(rgb, SIZE_WH, interpolation=cv2.INTER_AREA), np.uint8)


def main() -> int:
    try:
        sys.stdout.buffer.write(npz_of(make_clips()))
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
