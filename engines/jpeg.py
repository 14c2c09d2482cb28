"""RGB pictures to JPEG, and pictures as they lie in files to RGB. Pure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def jpeg_from_rgb(rgb: Bytes, quality: int, *, whole_chroma: bool = False) -> bytes:
    """``rgb``: (H, W, 3). Chroma is halved, as video has it, unless ``whole_chroma``."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if whole_chroma:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), options)[1])


def rgb_from_picture(data: bytes) -> Bytes | None:
    """(H, W, 3) of a JPEG, PNG or whatever else OpenCV reads; None when it is no picture."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if bgr is None else np.ascontiguousarray(bgr[..., ::-1], dtype=np.uint8)
