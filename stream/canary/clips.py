"""The two known clips: a few pictures each, as JPEG files in one .npz. ``stream/demo/canary_clips.py`` makes them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engines.preprocess import Planes
from stream.errors import MissingPartError
from stream.types import Frame, StreamName

GENUINE, SWAPPED = "genuine", "swapped"
LABELS = {GENUINE: "real", SWAPPED: "fake"}
"""Name -> the verdict that it must get."""
PICTURES = 12
"""In each clip: enough for a first score and the windows after it."""
LARGEST_PICTURE = 1 << 20
STREAM = StreamName("canary")
"""Of its frames; shown nowhere."""


@dataclass(frozen=True, repr=False)
class CanaryClip:
    """One person, a picture for each slot of a window."""

    name: str
    jpegs: tuple[bytes, ...]

    @property
    def label(self) -> str:
        return LABELS[self.name]

    def frame(self, index: int, period_s: float) -> Frame:
        """The picture with that number, as a decoder would hand it over."""
        pts_ns = round(index * period_s * 1e9)
        return Frame(STREAM, _planes(self.jpegs[index]), pts_ns, pts_ns, 0)


def npz_of(clips: Sequence[CanaryClip]) -> bytes:
    """All of them in one file."""
    arrays = {f"{clip.name}_{i:03d}": jpeg for clip in clips for i, jpeg in enumerate(clip.jpegs)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, jpeg in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, np.frombuffer(jpeg, np.uint8))
    return file.getvalue()


def clips_from(npz: bytes) -> tuple[CanaryClip, ...]:
    """What ``npz_of`` wrote, genuine first. Raises MissingPartError when it is anything else."""
    try:
        with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
            named = {name: np.asarray(arrays[name], np.uint8).tobytes() for name in sorted(arrays.files)}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise MissingPartError(f"the canary's clips cannot be read: {error}") from None
    clips = [CanaryClip(name, tuple(named[key] for key in named if key.startswith(f"{name}_"))) for name in LABELS]
    if not all(clip.jpegs for clip in clips):
        raise MissingPartError("the canary's clips are empty")
    return tuple(clips)


def _planes(jpeg: bytes) -> Planes:
    """I420 in BT.601, as the clip's decoder would give."""
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise MissingPartError("the canary's clips hold something that is no picture")
    height, width = bgr.shape[:2]
    flat = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8).reshape(-1)
    luma, half = flat[: height * width].reshape(height, width), (height // 2, width // 2)
    u, v = flat[height * width :].reshape(2, *half)
    return Planes(luma, (u, v))
