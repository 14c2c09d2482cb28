"""Soft masks over a face or a part of it that follow its landmarks (Li et al. 2020; Shiohara & Yamasaki 2022)."""

from __future__ import annotations

import cv2
import numpy as np

from engines.training.degrade import Floats, Rng
from engines.training.landmarks import Points

JAW, BROWS, NOSE, EYES, MOUTH = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
FAINTEST_MASK = 0.3
"""Peak opacity under which a blend cannot be seen."""
_PARTS = ("face", "features", "lower", "upper", "mouth")
_SHARES = (0.45, 0.27, 0.13, 0.08, 0.07)
_DEEPEST_WAVE = 0.035
"""Of the side, by which a mask's edge is bent."""
_WAVE_CELLS = 6


def hull_mask(rng: Rng, points: Points, side: int) -> Floats:
    """(side, side) in 0-1: the hull of some landmarks, bent, grown or shrunk, and softened."""
    mask = np.zeros((side, side), np.float32)
    outline = _outline(rng, points, str(rng.choice(_PARTS, p=_SHARES)))
    cv2.fillConvexPoly(mask, cv2.convexHull(outline.astype(np.float32)).astype(np.int32), (1.0,))
    mask = _grown(_bent(rng, mask), round(side * rng.uniform(-0.045, 0.03)))
    mask = softened(rng, mask)
    return mask if mask.max() >= FAINTEST_MASK else hull_mask(rng, points, side)


def face_core(points: Points, side: int) -> Floats:
    """(side, side) of 0 and 1: the face between brows and chin, without what lies at its rim."""
    centre = points.mean(0)
    inner = centre + 0.85 * (points - centre)
    mask = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(inner.astype(np.float32)).astype(np.int32), (1.0,))
    return mask


def softened(rng: Rng, mask: Floats) -> Floats:
    """Edges from hard to very soft (sigma 1 px to 9 % of the side); three in ten masks become translucent."""
    sigma_px = float(np.exp(rng.uniform(0.0, np.log(mask.shape[0] * 0.09))))
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma_px), np.float32)
    gain = rng.uniform(1, 2) if rng.random() < 0.5 else 1.0
    mask = np.clip(mask * np.float32(gain), 0, 1)  # the blur overshoots by a rounding error
    opacity = 1.0 if rng.random() < 0.7 else rng.uniform(0.6, 1.0)
    return np.asarray(mask * opacity, np.float32)


def _outline(rng: Rng, points: Points, part: str) -> Points:
    if part == "face":
        return np.concatenate([points[JAW], _raised_brows(rng, points)])
    if part == "features":
        return np.concatenate([_raised_brows(rng, points), points[NOSE], points[MOUTH]])
    if part == "lower":
        return np.concatenate([points[3:14], points[31:36], points[MOUTH]])
    if part == "upper":
        return np.concatenate([_raised_brows(rng, points), points[EYES], points[NOSE]])
    centre = points[MOUTH].mean(0)
    return np.asarray(centre + rng.uniform(1.1, 1.6) * (points[MOUTH] - centre), np.float32)


def _raised_brows(rng: Rng, points: Points) -> Points:
    """The landmarks end at the brows, a face a little higher."""
    brows = points[BROWS]
    return np.asarray(brows + rng.uniform(0, 0.3) * (brows.mean(0) - points[8]), np.float32)


def _bent(rng: Rng, mask: Floats) -> Floats:
    """Its edge along slow random waves."""
    side = mask.shape[0]
    coarse = rng.uniform(-1, 1, (_WAVE_CELLS, _WAVE_CELLS, 2)).astype(np.float32)
    shift = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * rng.uniform(0, _DEEPEST_WAVE) * side
    y, x = np.mgrid[:side, :side].astype(np.float32)
    x, y = x + np.float32(shift[..., 0]), y + np.float32(shift[..., 1])
    return np.asarray(cv2.remap(mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _grown(mask: Floats, margin_px: int) -> Floats:
    """Dilated by the margin, or eroded where it is negative."""
    reach = 2 * abs(margin_px) + 1
    change = cv2.dilate if margin_px > 0 else cv2.erode
    return np.asarray(change(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))), np.float32)
