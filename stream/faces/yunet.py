"""YuNet: OpenCV's small face detector, from a given .onnx of any or of fixed input size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engines.postprocess import ANCHOR_STRIDES, Detections, YunetMap, decode_yunet, without_overlaps
from engines.preprocess import BoxGeometry, Bytes, Floats, Levels
from engines.runtime.ports import Array
from stream.errors import ModelError
from stream.faces.network import FaceNetwork

KINDS = ("cls", "obj", "bbox", "kps")
IOU_LIMIT = 0.3
"""As in OpenCV's FaceDetectorYN."""


def input_array(rgb: Bytes) -> Floats:
    """YuNet takes BGR bytes as they are."""
    return np.ascontiguousarray(rgb[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32)


def decode(outputs: Mapping[str, Array], size_wh: tuple[int, int], confidence: float) -> Detections:
    maps = [YunetMap(*(outputs[f"{kind}_{stride}"] for kind in KINDS)) for stride in ANCHOR_STRIDES]
    return without_overlaps(decode_yunet(maps, size_wh, confidence), IOU_LIMIT)


def find_weights() -> Path:
    raise ModelError(
        "the yunet detector needs its weights: give face_detection_yunet_2023mar.onnx of OpenCV's model zoo"
        " (github.com/opencv/opencv_zoo) as the detector's weights"
    )


def accepts(outputs: tuple[str, ...]) -> bool:
    return set(outputs) == {f"{kind}_{stride}" for kind in KINDS for stride in ANCHOR_STRIDES}


NETWORK = FaceNetwork(
    name="yunet",
    # Measured: python -m bench.crop_geometry --detector yunet --weights FILE.onnx
    geometry=BoxGeometry(side_ratio=1.19, rise=0.07),
    input_array=input_array,
    levels=Levels("bgr"),
    decode=decode,
    find_weights=find_weights,
    load_graph=lambda path: path,
    accepts=accepts,
)
