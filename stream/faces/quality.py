"""The quality gate: is this picture of a face good enough to be judged at all? Pure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engines.preprocess import Bytes, Square
from stream.types import FaceBox, QualityReason

SHARPNESS_SIDE = 112
"""Faces are compared at this size, in pixels: at the crop's own size a large face would always look blurred."""


@dataclass(frozen=True)
class QualityLimits:
    """What a face must have to be scored."""

    min_side_px: float = 40.0
    """Side of the crop in the frame, a box of about 48 px; 1 % of the training crops come from less than 75 px."""
    min_sharpness: float = 0.09
    """See ``sharpness``. By bench/face_quality.py none of 300 training crops is below (2 %: 0.15), even compressed hard
    (JPEG quality 15: 0.20); blurred by 3 px of 224 nearly half are, by 4 px three in four."""
    min_brightness: float = 15.0
    """Mean luma, 0-255; hardly any training crop is darker, so the model has seen what it is shown above this."""
    max_cut_off: float = 0.25
    """Share of the crop's square that may lie outside the frame."""
    min_confidence: float = 0.5
    """Of the detector: what it doubts may not be a face."""


def quality_reason(
    crop: Bytes, square: Square, face: FaceBox, frame_wh: tuple[int, int], limits: QualityLimits
) -> QualityReason | None:
    """Why this face must not be scored, the plainest reason first; None when it may be.

    ``crop`` is the (S, S, 3) RGB or (S, S) grey cut from ``square``, which is in the pixels of a frame of ``frame_wh``.
    """
    if face.confidence < limits.min_confidence:
        return QualityReason.LOW_CONFIDENCE
    if square.side < limits.min_side_px:
        return QualityReason.TOO_SMALL
    if cut_off(square, frame_wh) > limits.max_cut_off:
        return QualityReason.CUT_OFF
    luma = crop if crop.ndim == 2 else np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)
    if float(luma.mean()) < limits.min_brightness:
        return QualityReason.DARK
    if sharpness(luma, square.side) < limits.min_sharpness:
        return QualityReason.BLURRED
    return None


def cut_off(square: Square, frame_wh: tuple[int, int]) -> float:
    """Share of the square that lies outside the frame, 0-1."""
    inside = _overlap(square.cx, square.side, frame_wh[0]) * _overlap(square.cy, square.side, frame_wh[1])
    return 1.0 - inside / square.side**2


def sharpness(luma: Bytes, side_px: float) -> float:
    """Detail of an (S, S) crop cut from ``side_px``: the Laplacian's deviation over the luma's own, contrast-free.

    Measured at the crop's native size, at most ``SHARPNESS_SIDE``: enlarging adds no detail and shrinking hides
    blur that the network does not see either. After Pech-Pacheco et al., "Diatom autofocusing" (2000).
    """
    side = max(8, min(SHARPNESS_SIDE, round(side_px), luma.shape[0]))
    small = cv2.resize(luma, (side, side), interpolation=cv2.INTER_AREA)
    contrast = float(small.std())
    return float(cv2.Laplacian(small, cv2.CV_32F).std()) / max(contrast, 1.0)


def _overlap(centre: float, side: float, limit: int) -> float:
    return max(0.0, min(centre + side / 2, limit) - max(centre - side / 2, 0.0))
