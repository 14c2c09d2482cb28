"""A real face that may be used freely, with its landmarks: the demo's portrait."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from skimage.data import astronaut

from engines.training.degrade import Rgb
from engines.training.landmarks import Points

LANDMARKS = Path(__file__).parents[3] / "stream" / "demo" / "landmarks.json"
LEFT, TOP, SIDE = 170, 74, 112
"""The square of the picture that the face fills."""


def portrait(size: int = 224) -> tuple[Rgb, Points]:
    """(size, size, 3) RGB that the face fills, and its 68 points."""
    face = astronaut()[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    points = np.array(json.loads(LANDMARKS.read_text())["portrait"], np.float32)
    scale = size / SIDE
    return np.asarray(cv2.resize(face, (size, size)), np.uint8), (points - (LEFT, TOP)).astype(np.float32) * scale
