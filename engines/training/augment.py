"""What a video stream does to a face crop: framing, resolution, light, noise, compression.

One distribution for reals and fakes: ``augmented`` is never told the label.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engines.training.degrade import Rgb, Rng, add_noise, as_rgb, blur, gamma, jpeg, sharpen, shift_colour, squash

SMALLEST_CROP = 0.72
_SOFTEN_BELOW = 0.75
"""Scale under which bilinear sampling would alias: the picture is softened first."""


@dataclass(frozen=True)
class Framing:
    """Which square of a still becomes the network's input."""

    cx: float
    """Centre, in pixels of the still."""
    cy: float
    side: float
    """In pixels of the still."""
    degrees: float = 0.0
    """Counter-clockwise turn about the centre."""


def augmented(rng: Rng, rgb: Rgb, size: int, degradation: float = 1.0) -> Rgb:
    """(H, H, 3) RGB to (size, size, 3): a random framing, mirror, and stream."""
    framed = frame_face(rgb, random_framing(rng, rgb.shape[0]), size)
    if rng.random() < 0.5:
        framed = np.ascontiguousarray(framed[:, ::-1])
    return through_a_stream(rng, framed, degradation)


def random_framing(rng: Rng, side: int) -> Framing:
    """0.72-1 of the still's side, anywhere inside it, turned by up to 8 degrees in two of five cases."""
    crop = side * rng.uniform(SMALLEST_CROP, 1.0)
    degrees = rng.uniform(-8, 8) if rng.random() < 0.4 else 0.0
    slack = (side - crop) / 2
    return Framing(side / 2 + slack * rng.uniform(-1, 1), side / 2 + slack * rng.uniform(-1, 1), crop, degrees)


def frame_face(rgb: Rgb, framing: Framing, size: int) -> Rgb:
    """Cut and resize in one step; what lies outside is mirrored in."""
    scale = size / framing.side
    matrix = np.asarray(cv2.getRotationMatrix2D((framing.cx, framing.cy), framing.degrees, scale), np.float64)
    matrix[:, 2] += size / 2 - np.array([framing.cx, framing.cy])
    if scale < _SOFTEN_BELOW:
        rgb = as_rgb(cv2.GaussianBlur(rgb, (0, 0), 0.45))
    return as_rgb(cv2.warpAffine(rgb, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def through_a_stream(rng: Rng, rgb: Rgb, degradation: float = 1.0) -> Rgb:
    """Resolution, light, noise and compression, each in some of the cases; the shape is kept.

    ``degradation`` scales how often each of them happens.
    """
    rgb = _lit(rng, _resampled(rng, rgb, degradation), degradation)
    if rng.random() < 0.3 * degradation:
        rgb = add_noise(rng, rgb, rng.uniform(1, 9))
    return jpeg(rgb, int(rng.integers(30, 96))) if rng.random() < 0.55 * degradation else rgb


def _resampled(rng: Rng, rgb: Rgb, degradation: float) -> Rgb:
    if rng.random() < 0.3 * degradation:
        return squash(rng, rgb, 0.4)
    if rng.random() < 0.2 * degradation:
        return blur(rng, rgb, 1.4)
    return sharpen(rng, rgb) if rng.random() < 0.08 * degradation else rgb


def _lit(rng: Rng, rgb: Rgb, degradation: float) -> Rgb:
    if rng.random() < 0.6 * degradation:
        rgb = shift_colour(rng, rgb, 0.12)
    if rng.random() < 0.25 * degradation:
        rgb = gamma(rgb, float(np.exp(rng.uniform(-0.35, 0.35))))
    if rng.random() < 0.05 * degradation:
        rgb = as_rgb(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    return rgb
