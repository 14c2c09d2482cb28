"""Single degradations and colour changes of (H, W, 3) RGB bytes: pure, each random through its ``rng`` only."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.jpeg import jpeg_from_rgb, rgb_from_picture

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
Rng = np.random.Generator


def shift_colour(rng: Rng, rgb: Rgb, strength: float) -> Rgb:
    """Gain and offset per channel, and in half of the cases contrast, each up to ``strength``."""
    gain = 1 + rng.uniform(-strength, strength, 3).astype(np.float32)
    offset = 80 * rng.uniform(-strength, strength, 3).astype(np.float32)
    changed = rgb.astype(np.float32) * gain + offset
    if rng.random() < 0.5:
        mean = changed.mean((0, 1))
        changed = (changed - mean) * np.float32(1 + 2 * rng.uniform(-strength, strength)) + mean
    return to_bytes(changed)


def squash(rng: Rng, rgb: Rgb, smallest: float) -> Rgb:
    """Resize down, at least to ``smallest`` of the side, and up again: a low-resolution source or stream."""
    side = rgb.shape[0]
    small = max(20, int(side * rng.uniform(smallest, 0.95)))
    down = cv2.INTER_AREA if rng.random() < 0.7 else cv2.INTER_LINEAR
    up = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(2)]
    return as_rgb(cv2.resize(cv2.resize(rgb, (small, small), interpolation=down), (side, side), interpolation=up))


def blur(rng: Rng, rgb: Rgb, largest_sigma_px: float) -> Rgb:
    """Gaussian blur of 0.4 to ``largest_sigma_px``."""
    return as_rgb(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, largest_sigma_px)))


def sharpen(rng: Rng, rgb: Rgb) -> Rgb:
    """Unsharp mask, as cameras and editors apply it."""
    soft = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.8, 2.0))
    amount = rng.uniform(0.3, 1.0)
    return as_rgb(cv2.addWeighted(rgb, 1 + amount, soft, -amount, 0))


def jpeg(rgb: Rgb, quality: int) -> Rgb:
    """Encode and decode, with 4:2:0 chroma as video has it. Channel order is kept, whichever it is."""
    return as_rgb(rgb_from_picture(jpeg_from_rgb(rgb, quality)))


def gamma(rgb: Rgb, exponent: float) -> Rgb:
    """Exposure on a camera's curve."""
    curve = ((np.arange(256) / 255.0) ** exponent * 255).astype(np.uint8)
    return curve[rgb]


def expose(rgb: Rgb, stops: float) -> Rgb:
    """More or less light on the sensor, in stops, through a curve of 2.2: highlights clip as they do there."""
    gain = 2.0 ** (stops / 2.2)
    curve = to_bytes(np.arange(256, dtype=np.float32) * np.float32(gain) + np.float32(0.5))
    return curve[rgb]


def tint(rng: Rng, rgb: Rgb, strength: float) -> Rgb:
    """White balance along blue to orange and green to magenta, and saturation, each up to ``strength``."""
    warm, green, saturation = rng.uniform(-strength, strength, 3)
    gains = np.array([1 + warm, 1 + green / 2, 1 - warm], np.float32)
    changed = rgb.astype(np.float32) * gains
    grey = changed @ np.array([0.299, 0.587, 0.114], np.float32)
    return to_bytes(grey[..., None] + (changed - grey[..., None]) * np.float32(1 + 2 * saturation))


def add_noise(rng: Rng, rgb: Rgb, sigma: float) -> Rgb:
    """Independent Gaussian noise of ``sigma`` on the 0-255 scale: a sensor's."""
    return to_bytes(rgb + rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(sigma))


def to_bytes(values: Floats) -> Rgb:
    """Clip to 0-255."""
    return np.clip(values, 0, 255).astype(np.uint8)


def as_rgb(picture: object) -> Rgb:
    """OpenCV's results are typed loosely; they are (H, W, 3) uint8 here."""
    return np.asarray(picture, dtype=np.uint8)
