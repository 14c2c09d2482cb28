"""What a video stream does to a face crop: framing, resolution, light, noise, compression.

One distribution for reals and fakes: nothing here is told the label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.training.degrade import (
    Floats,
    Rgb,
    Rng,
    add_noise,
    as_rgb,
    blur,
    expose,
    gamma,
    jpeg,
    sharpen,
    shift_colour,
    squash,
    tint,
)
from engines.training.h264 import h264, random_crf

Scalar = TypeVar("Scalar", bound=np.generic)

SMALLEST_CROP = 0.72
_SOFTEN_BELOW = 0.75
"""Scale under which bilinear sampling would alias: the picture is softened first."""


@dataclass(frozen=True)
class Odds:
    """How often a stream does what it seldom does to every picture; 0 is never, and then nothing is drawn for it."""

    h264: float = 0.0
    """In place of JPEG."""
    exposure: float = 0.0
    colour: float = 0.0


NO_ODDS = Odds()


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


@dataclass(frozen=True)
class View:
    """A framing, and whether it is seen in a mirror."""

    framing: Framing
    mirrored: bool

    def of(self, rgb: Rgb, size: int) -> Rgb:
        """(H, H, 3) to (size, size, 3)."""
        return as_rgb(self._turned(frame_face(rgb, self.framing, size)))

    def of_mask(self, mask: Floats, side: int, size: int) -> Floats:
        """(M, M) mask of a still of ``side`` pixels to (size, size); outside the still it is 0."""
        matrix = _matrix(self.framing, size)
        matrix[:, :2] *= side / mask.shape[0]
        framed = np.asarray(cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_LINEAR), np.float32)
        return self._turned(framed)

    def _turned(self, picture: NDArray[Scalar]) -> NDArray[Scalar]:
        return np.ascontiguousarray(picture[:, ::-1]) if self.mirrored else picture


def random_view(rng: Rng, side: int) -> View:
    """A random framing, mirrored in half of the cases."""
    return View(random_framing(rng, side), bool(rng.random() < 0.5))


def random_framing(rng: Rng, side: int) -> Framing:
    """0.72-1 of the still's side, anywhere inside it, turned by up to 8 degrees in two of five cases."""
    crop = side * rng.uniform(SMALLEST_CROP, 1.0)
    degrees = rng.uniform(-8, 8) if rng.random() < 0.4 else 0.0
    slack = (side - crop) / 2
    return Framing(side / 2 + slack * rng.uniform(-1, 1), side / 2 + slack * rng.uniform(-1, 1), crop, degrees)


def frame_face(rgb: Rgb, framing: Framing, size: int) -> Rgb:
    """Cut and resize in one step; what lies outside is mirrored in."""
    if size / framing.side < _SOFTEN_BELOW:
        rgb = as_rgb(cv2.GaussianBlur(rgb, (0, 0), 0.45))
    return as_rgb(
        cv2.warpAffine(
            rgb, _matrix(framing, size), (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    )


def _matrix(framing: Framing, size: int) -> NDArray[np.float64]:
    """(2, 3) from pixels of the still to pixels of a (size, size) picture."""
    scale = size / framing.side
    matrix = np.asarray(cv2.getRotationMatrix2D((framing.cx, framing.cy), framing.degrees, scale), np.float64)
    matrix[:, 2] += size / 2 - np.array([framing.cx, framing.cy])
    return matrix


def through_a_stream(rng: Rng, rgb: Rgb, degradation: float = 1.0, odds: Odds = NO_ODDS) -> Rgb:
    """Resolution, light, noise and compression, each in some of the cases; the shape is kept.

    ``degradation`` scales how often each of them happens; ``odds`` are absolute.
    """
    rgb = _lit(rng, _resampled(rng, rgb, degradation), degradation)
    if _happens(rng, odds.exposure):
        rgb = expose(rgb, rng.uniform(-1.5, 1.0))
    if _happens(rng, odds.colour):
        rgb = tint(rng, rgb, 0.2)
    if rng.random() < 0.3 * degradation:
        rgb = add_noise(rng, rgb, rng.uniform(1, 9))
    if _happens(rng, odds.h264):
        return h264(rng, rgb, random_crf(rng))
    return jpeg(rgb, int(rng.integers(30, 96))) if rng.random() < 0.55 * degradation else rgb


def _happens(rng: Rng, odds: float) -> bool:
    """Without odds nothing is drawn: recipes that do not know them see what they always saw."""
    return odds > 0 and bool(rng.random() < odds)


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
