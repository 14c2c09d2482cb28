"""Self-blended fakes (Shiohara & Yamasaki 2022): a real face blended into itself, so that only the seam is forged.

The source side is changed in colour, sharpness, resolution and place, and pasted through a soft convex mask: what every
face swap leaves behind, whoever made it. Pure functions on (H, W, 3) RGB uint8.
"""

from __future__ import annotations

import cv2
import numpy as np

from engines.training.degrade import Floats, Rgb, Rng, as_rgb, blur, jpeg, sharpen, shift_colour, squash

FAINTEST_MASK = 0.3
"""Peak opacity under which a blend cannot be seen."""


def self_blended(rng: Rng, rgb: Rgb) -> Rgb:
    """A fake made of one real face."""
    return blended_with_itself(rng, rgb)[0]


def blended_with_itself(rng: Rng, rgb: Rgb) -> tuple[Rgb, Floats]:
    """A fake made of one real face, and the mask (H, W) in 0-1 that it was blended through."""
    source, target = _changed_source(rng, rgb), _changed_target(rng, rgb)
    mask = _visible_mask(rng, rgb.shape[0])
    opacity = mask[..., None]
    return (source * opacity + target * (1 - opacity) + 0.5).astype(np.uint8), mask


def blend_mask(rng: Rng, side: int) -> Floats:
    """(side, side) in 0-1: a convex polygon over the central face, sometimes its lower or upper part only.

    Edges run from hard to very soft (sigma 1 px to 9 % of the side); three in ten masks are translucent.
    """
    mask = _without_a_part(rng, _polygon(rng, side))
    sigma_px = float(np.exp(rng.uniform(0.0, np.log(side * 0.09))))
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma_px), np.float32)
    gain = rng.uniform(1, 2) if rng.random() < 0.5 else 1.0
    mask = np.clip(mask * np.float32(gain), 0, 1)  # the blur overshoots by a rounding error
    opacity = 1.0 if rng.random() < 0.7 else rng.uniform(0.6, 1.0)
    return np.asarray(mask * opacity, np.float32)


def _visible_mask(rng: Rng, side: int) -> Floats:
    """One in two hundred masks is empty once a part of it is gone: a real must not be labelled a fake."""
    mask = blend_mask(rng, side)
    while mask.max() < FAINTEST_MASK:
        mask = blend_mask(rng, side)
    return mask


def _polygon(rng: Rng, side: int) -> Floats:
    corners = int(rng.integers(6, 14))
    centre = side * np.array([rng.uniform(0.44, 0.56), rng.uniform(0.46, 0.62)])
    radii = side * np.array([rng.uniform(0.16, 0.38), rng.uniform(0.18, 0.42)])
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = rng.uniform(0.7, 1.05, corners)[:, None]
    points = centre + radii * reach * np.stack([np.cos(angles), np.sin(angles)], 1)
    mask = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.float32)).astype(np.int32), (1.0,))
    return mask


def _without_a_part(rng: Rng, mask: Floats) -> Floats:
    """Keep only the mouth's half (lip-sync forgeries), only the eyes' half, or mostly all of it."""
    side, draw = mask.shape[0], rng.random()
    if draw < 0.2:
        mask[: int(side * rng.uniform(0.5, 0.62))] = 0
    elif draw < 0.27:
        mask[int(side * rng.uniform(0.45, 0.6)) :] = 0
    return mask


def _changed_source(rng: Rng, rgb: Rgb) -> Rgb:
    if rng.random() < 0.8:
        rgb = shift_colour(rng, rgb, 0.13)
    rgb = _changed_sharpness(rng, rgb)
    if rng.random() < 0.2:
        rgb = jpeg(rgb, int(rng.integers(40, 90)))
    return _displaced(rng, rgb) if rng.random() < 0.9 else rgb


def _changed_sharpness(rng: Rng, rgb: Rgb) -> Rgb:
    draw = rng.random()
    if draw < 0.3:
        return squash(rng, rgb, 0.3)
    if draw < 0.5:
        return blur(rng, rgb, 1.8)
    return sharpen(rng, rgb) if draw < 0.65 else rgb


def _changed_target(rng: Rng, rgb: Rgb) -> Rgb:
    if rng.random() >= 0.25:
        return rgb
    return shift_colour(rng, rgb, 0.12) if rng.random() < 0.5 else sharpen(rng, rgb)


def _displaced(rng: Rng, rgb: Rgb) -> Rgb:
    """Up to 4 px, 3 % and 2 degrees: landmarks never fit exactly."""
    side = rgb.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-2, 2), 1 + rng.uniform(-0.03, 0.03))
    matrix = np.asarray(turn, np.float64)
    matrix[:, 2] += rng.uniform(-4, 4, 2)
    return as_rgb(cv2.warpAffine(rgb, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))
