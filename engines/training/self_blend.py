"""Self-blended fakes (Shiohara & Yamasaki 2022): a real face blended into itself, so that only the seam is forged.

The source side is changed in colour, sharpness, resolution and place, and pasted through a soft mask, a convex polygon
or the hull of landmarks: what every face swap leaves behind, whoever made it. Pure functions on (H, W, 3) RGB uint8.
"""

from __future__ import annotations

import cv2
import numpy as np

from engines.training.degrade import Floats, Rgb, Rng, as_rgb, blur, jpeg, sharpen, shift_colour, squash
from engines.training.face_hulls import FAINTEST_MASK, hull_mask, softened
from engines.training.landmarks import Points

MOST_REDRAWS = 50
"""A draw in some hundred leaves a plain picture as it is: nothing shifted, the change outside the mask or under it."""


def self_blended(rng: Rng, rgb: Rgb) -> Rgb:
    """A fake made of one real face."""
    return blended_with_itself(rng, rgb)[0]


def blended_with_itself(rng: Rng, rgb: Rgb, landmarks: Points | None = None) -> tuple[Rgb, Floats]:
    """A fake made of one real face, and the mask (H, W) in 0-1 that it was blended through.

    ``landmarks``: the mask follows them; without any it is a polygon about the picture's middle. Drawn again while the
    fake equals the face, which must not be labelled a fake; a picture that no draw changes has nothing to blend.
    """
    fake, mask = _blended_once(rng, rgb, landmarks)
    for _ in range(MOST_REDRAWS):
        if not np.array_equal(fake, rgb):
            break
        fake, mask = _blended_once(rng, rgb, landmarks)
    return fake, mask


def _blended_once(rng: Rng, rgb: Rgb, landmarks: Points | None) -> tuple[Rgb, Floats]:
    source, target = _changed_source(rng, rgb), _changed_target(rng, rgb)
    side = rgb.shape[0]
    mask = _visible_mask(rng, side) if landmarks is None else hull_mask(rng, landmarks, side)
    return blended(source, target, mask), mask


def blended(source: Rgb, target: Rgb, mask: Floats) -> Rgb:
    """As much of ``source`` over ``target`` as the (H, W) mask says."""
    opacity = mask[..., None]
    return np.asarray((source * opacity + target * (1 - opacity) + 0.5).astype(np.uint8))


def changed_sharpness(rng: Rng, rgb: Rgb) -> Rgb:
    """In two of three cases of another resolution, softer or sharper."""
    draw = rng.random()
    if draw < 0.3:
        return squash(rng, rgb, 0.3)
    if draw < 0.5:
        return blur(rng, rgb, 1.8)
    return sharpen(rng, rgb) if draw < 0.65 else rgb


def blend_mask(rng: Rng, side: int) -> Floats:
    """(side, side) in 0-1: a convex polygon over the central face, sometimes its lower or upper part only, softened."""
    return softened(rng, _without_a_part(rng, _polygon(rng, side)))


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
    rgb = changed_sharpness(rng, rgb)
    if rng.random() < 0.2:
        rgb = jpeg(rgb, int(rng.integers(40, 90)))
    return _displaced(rng, rgb) if rng.random() < 0.9 else rgb


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
