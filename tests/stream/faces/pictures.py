"""Real pictures and weights for the detectors' tests."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.preprocess import Bytes, Planes
from stream.types import Frame, StreamName

SHARED = Path(__file__).parents[4] / "shared" / "data"
SCRFD = SHARED / "weights" / "scrfd_640_kps.onnx"
YUNET = SHARED / "weights" / "yunet_n_dynamic.onnx"
YUNET_640 = SHARED / "weights" / "yunet_n_640_640.onnx"
DFDC = SHARED / "videos" / "dfdc_anndvqgoko_real.mp4"

T1_FACES = np.array([[60, 269, 171, 401], [270, 149, 373, 268], [464, 267, 574, 416],
                     [746, 342, 846, 480], [904, 58, 1013, 206], [1132, 273, 1226, 402]])  # fmt: skip
"""The six faces of insightface's t1.jpg (1280x886): the mean of three detectors' boxes, looked at."""


def needs(path: Path) -> Path:
    """The path, or a skip that says what is missing."""
    if not path.is_file():
        pytest.skip(f"shared data missing: {path}")
    return path


def six_faces() -> Bytes:
    """insightface's bundled group picture, (886, 1280, 3) RGB."""
    package = find_spec("insightface")
    folder = (package.submodule_search_locations or [""])[0] if package else ""
    return read(needs(Path(folder) / "data" / "images" / "t1.jpg"))


def portrait() -> Bytes:
    """scikit-image's astronaut, (512, 512, 3) RGB: one face at about (180, 70)-(265, 180)."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut())


def read(path: Path) -> Bytes:
    return np.ascontiguousarray(np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1])


@cache
def video_frames(path: Path) -> tuple[Bytes, ...]:
    """The first and the twentieth frame, RGB: decoding all of a 1080p clip would take the tests' time."""
    video = cv2.VideoCapture(str(needs(path)))
    frames = [np.asarray(video.read()[1], np.uint8)[..., ::-1] for _ in range(20)]
    return np.ascontiguousarray(frames[0]), np.ascontiguousarray(frames[-1])


def planes_from_rgb(rgb: Bytes) -> Planes:
    """I420 of a picture of any size, odd ones too: the border is doubled for the chroma's last column and row."""
    height, width = rgb.shape[:2]
    even = cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    tall, wide = even.shape[:2]
    yuv = cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420)
    chroma = yuv[tall:].reshape(2, tall // 2, wide // 2)
    return Planes(yuv[:height, :width], (chroma[0], chroma[1]))


def frame_from_rgb(rgb: Bytes) -> Frame:
    return Frame(StreamName("test"), planes_from_rgb(rgb), 0, 0, 0)
