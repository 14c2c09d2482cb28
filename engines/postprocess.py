"""Tensors to boxes and probabilities: pure NumPy.

One decoder for each family of face networks, all in input pixels and all returning ``Detections``; the maps they read
are the networks' raw outputs. Written from the papers and checked against the authors' own code in the tests:

- CenterFace: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point" (2019), section 3.
- SCRFD: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection" (2021); boxes are distances
  to an anchor's centre as in FCOS (Tian et al. 2019).
- YuNet: Wu et al., "YuNet: A Tiny Millisecond-level Face Detector" (2023); the boxes are YOLOX's (Ge et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.runtime.ports import Array
from engines.spec import Calibration

Floats = NDArray[np.float32]
Probabilities = NDArray[np.float64]

ANCHOR_STRIDES = (8, 16, 32)
"""Of SCRFD's and YuNet's three feature maps, in input pixels."""
CENTERFACE_STRIDE = 4
SCRFD_ANCHORS = 2
"""Per cell of a feature map."""
LANDMARKS = 5


@dataclass(frozen=True, repr=False)
class Detections:
    """Faces as arrays of N rows, in the pixels of the picture they were found in."""

    xyxy: Floats
    """(N, 4) left, top, right, bottom; may reach over the border."""
    confidence: Floats
    """(N,) belief that it is a face, 0-1."""
    landmarks: Floats
    """(N, 5, 2) x, y in FaceBox's order; (N, 0, 2) from a network that has none."""

    def __len__(self) -> int:
        return len(self.confidence)

    def __repr__(self) -> str:
        return f"Detections({len(self)})"

    def take(self, rows: Array) -> Detections:
        """The given rows, in the given order."""
        return Detections(self.xyxy[rows], self.confidence[rows], self.landmarks[rows])

    def scaled(self, x: float, y: float) -> Detections:
        """The same faces in a picture ``x`` times as wide and ``y`` times as high."""
        factors = np.array([x, y], np.float32)
        return Detections(self.xyxy * np.tile(factors, 2), self.confidence, self.landmarks * factors)


@dataclass(frozen=True, repr=False)
class ScrfdMap:
    """SCRFD's outputs at one stride, A = two anchors a cell; a leading batch axis of 1 is allowed."""

    scores: Array
    """(A, 1), 0-1"""
    distances: Array
    """(A, 4) from the anchor to the box's left, top, right and bottom, in strides."""
    points: Array | None
    """(A, 10) landmarks from the anchor, in strides; None from a network that has none."""


@dataclass(frozen=True, repr=False)
class YunetMap:
    """YuNet's outputs at one stride, A = one a cell."""

    classes: Array
    """(1, A, 1)"""
    objects: Array
    """(1, A, 1); the confidence is the geometric mean of both."""
    boxes: Array
    """(1, A, 4) the centre's offset in cells, then the logarithms of width and height in cells."""
    points: Array
    """(1, A, 10) the landmarks' offsets in cells."""


def sigmoid(logit: ArrayLike) -> Probabilities:
    """1 / (1 + exp(-logit)) by way of tanh, which neither overflows nor warns for huge logits."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logit, np.float64))))


def calibrated_probability(logit: ArrayLike, calibration: Calibration) -> Probabilities:
    """Platt-scaled probability of each logit, in the logit's shape; NaN stays NaN."""
    return sigmoid((np.asarray(logit, np.float64) + calibration.bias) / calibration.temperature)


def fake_probability(
    logits: ArrayLike, calibration: Calibration, positive_class: Literal["fake", "real"] = "fake"
) -> Probabilities:
    """Calibrated probability of being fake, whatever a high logit means in this model."""
    positive = calibrated_probability(logits, calibration)
    return positive if positive_class == "fake" else 1.0 - positive


def decode_centerface(heatmap: Array, scale: Array, offset: Array, landmarks: Array, confidence: float) -> Detections:
    """Peaks of CenterFace's maps over ``confidence``, before NMS.

    ``heatmap`` (1, 1, h, w) is 0-1; ``scale`` (1, 2, h, w) holds the logarithms of height and width in cells,
    ``offset`` (1, 2, h, w) the centre's y and x within a cell, ``landmarks`` (1, 10, h, w) five (y, x) pairs as
    fractions of the box, from its upper left corner.
    """
    rows, columns = np.nonzero(heatmap[0, 0] > confidence)
    height, width = np.exp(scale[0, :, rows, columns]).T * CENTERFACE_STRIDE
    dy, dx = offset[0, :, rows, columns].T
    cx, cy = (columns + dx + 0.5) * CENTERFACE_STRIDE, (rows + dy + 0.5) * CENTERFACE_STRIDE
    corner, size = np.stack([cx - width / 2, cy - height / 2], axis=1), np.stack([width, height], axis=1)
    points = landmarks[0, :, rows, columns].reshape(-1, LANDMARKS, 2)[..., ::-1]
    return _detections(
        np.hstack([corner, corner + size]), heatmap[0, 0, rows, columns], corner[:, None] + points * size[:, None]
    )


def decode_scrfd(maps: Sequence[ScrfdMap], size_wh: tuple[int, int], confidence: float) -> Detections:
    """SCRFD's anchors of at least ``confidence`` from an input of ``size_wh``, one map per stride, before NMS."""
    levels = zip(maps, ANCHOR_STRIDES, strict=True)
    return _joined([_scrfd_level(one, _cells(size_wh, stride), stride, confidence) for one, stride in levels])


def decode_yunet(maps: Sequence[YunetMap], size_wh: tuple[int, int], confidence: float) -> Detections:
    """YuNet's cells over ``confidence`` from an input of ``size_wh``, one map per stride, before NMS."""
    levels = zip(maps, ANCHOR_STRIDES, strict=True)
    return _joined([_yunet_level(one, _cells(size_wh, stride), stride, confidence) for one, stride in levels])


def without_overlaps(detections: Detections, iou_limit: float) -> Detections:
    """Greedy non-maximum suppression: most confident first; of two that overlap by more than the limit one stays."""
    order = np.argsort(-detections.confidence, kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        overlap = iou(detections.xyxy[best : best + 1], detections.xyxy[rest])[0]
        order = rest[overlap <= iou_limit]
    return detections.take(np.array(kept, dtype=np.intp))


def iou(a: Array, b: Array) -> Floats:
    """(N, M) intersection over union of (N, 4) and (M, 4) boxes; 0 where a box is empty."""
    corner, far = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(far - corner, 0, None), axis=-1)
    union = _area(a)[:, None] + _area(b)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0), np.float32)


def _area(xyxy: Array) -> Array:
    return np.asarray(np.prod(np.clip(xyxy[:, 2:] - xyxy[:, :2], 0, None), axis=-1))


def _scrfd_level(maps: ScrfdMap, cells: Floats, stride: int, confidence: float) -> Detections:
    sure = maps.scores.reshape(-1)
    rows = np.flatnonzero(sure >= confidence)
    anchors = np.repeat(cells, SCRFD_ANCHORS, axis=0)[rows] * stride
    reach = maps.distances.reshape(-1, 4)[rows] * stride
    xyxy = np.hstack([anchors - reach[:, :2], anchors + reach[:, 2:]])
    if maps.points is None:
        return _detections(xyxy, sure[rows], np.zeros((len(rows), 0, 2)))
    return _detections(xyxy, sure[rows], anchors[:, None] + maps.points.reshape(-1, LANDMARKS, 2)[rows] * stride)


def _yunet_level(maps: YunetMap, cells: Floats, stride: int, confidence: float) -> Detections:
    sure = np.sqrt(np.clip(maps.classes, 0, 1) * np.clip(maps.objects, 0, 1)).reshape(-1)
    rows = np.flatnonzero(sure > confidence)
    here, raw = cells[rows], maps.boxes.reshape(-1, 4)[rows]
    centre, half = (here + raw[:, :2]) * stride, np.exp(raw[:, 2:]) * stride / 2
    landmarks = (here[:, None] + maps.points.reshape(-1, LANDMARKS, 2)[rows]) * stride
    return _detections(np.hstack([centre - half, centre + half]), sure[rows], landmarks)


def _cells(size_wh: tuple[int, int], stride: int) -> Floats:
    """(A, 2) column and row of every cell of a feature map, row by row."""
    width, height = size_wh[0] // stride, size_wh[1] // stride
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32)


def _detections(xyxy: Array, confidence: Array, landmarks: Array) -> Detections:
    return Detections(*(np.asarray(values, np.float32) for values in (xyxy, confidence, landmarks)))


def _joined(parts: Sequence[Detections]) -> Detections:
    return _detections(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
    )
