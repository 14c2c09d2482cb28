"""Text and shapes as coverage masks ((H, W) bytes), and laying ink through them on an RGBA picture.

Masks are drawn several times too large and averaged down: smooth edges, and a weight between the font's regular and
bold. They are cached by what they show.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engines.preprocess import Bytes
from stream.overlay.palette import Icon, Rgb

OVERSAMPLE = 4


@lru_cache(maxsize=512)
def text_mask(text: str, size_px: int, *, strong: bool = False) -> Bytes:
    """One line of text; its height depends on ``size_px`` only, so that baselines agree."""
    font = _font(size_px * OVERSAMPLE)
    stroke = max(1, round(size_px * OVERSAMPLE / 44)) if strong else 0
    ascent, descent = font.getmetrics()
    width = round(font.getlength(text)) + 2 * stroke
    canvas = Image.new("L", (_whole(width), _whole(ascent + descent)))
    ImageDraw.Draw(canvas).text((stroke, 0), text, fill=255, font=font, stroke_width=stroke)
    return _reduced(np.asarray(canvas))


@lru_cache(maxsize=128)
def rounded_mask(width: int, height: int, radius: int) -> Bytes:
    """A filled rectangle with round corners."""
    canvas = Image.new("L", (width * OVERSAMPLE, height * OVERSAMPLE))
    box = (0, 0, canvas.width - 1, canvas.height - 1)
    ImageDraw.Draw(canvas).rounded_rectangle(box, radius * OVERSAMPLE, fill=255)
    return _reduced(np.asarray(canvas))


@lru_cache(maxsize=64)
def icon_mask(icon: Icon, size_px: int) -> Bytes:
    """A filled badge with its sign left out: disc, or an octagon for the cross."""
    side = size_px * OVERSAMPLE
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    if icon == "cross":
        pen.regular_polygon((side / 2, side / 2, side / 2 - 1), 8, rotation=22, fill=255)
    else:
        pen.ellipse((0, 0, side - 1, side - 1), fill=255)
    _SIGNS[icon](pen, side)
    return _reduced(np.asarray(canvas))


def _check(pen: ImageDraw.ImageDraw, side: int) -> None:
    points = [(0.27 * side, 0.52 * side), (0.44 * side, 0.68 * side), (0.73 * side, 0.34 * side)]
    pen.line(points, fill=0, width=round(0.12 * side), joint="curve")


def _cross(pen: ImageDraw.ImageDraw, side: int) -> None:
    low, high = 0.32 * side, 0.68 * side
    for line in ((low, low, high, high), (low, high, high, low)):
        pen.line(line, fill=0, width=round(0.13 * side))


def _question(pen: ImageDraw.ImageDraw, side: int) -> None:
    pen.text((side / 2, side / 2), "?", fill=0, font=_font(round(0.74 * side)), anchor="mm", stroke_width=side // 40)


def _dots(pen: ImageDraw.ImageDraw, side: int) -> None:
    radius = 0.075 * side
    for x in (0.27, 0.5, 0.73):
        centre = x * side
        pen.ellipse((centre - radius, side / 2 - radius, centre + radius, side / 2 + radius), fill=0)


_SIGNS = {"check": _check, "cross": _cross, "question": _question, "dots": _dots}


def ground(mask: Bytes, rgb: Rgb, opacity: float) -> Bytes:
    """A new (H, W, 4) picture: ``rgb`` everywhere, as opaque as the mask says."""
    red, green, blue = (np.full_like(mask, value) for value in rgb)
    return np.asarray(cv2.merge([red, green, blue, cv2.convertScaleAbs(mask, alpha=opacity)]), np.uint8)


def lay(rgba: Bytes, mask: Bytes, left: int, top: int, rgb: Rgb, opacity: float = 1.0) -> None:
    """Ink ``rgb`` through ``mask`` onto the picture in place; what reaches over its border is cut."""
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + mask.shape[1], rgba.shape[1]), min(top + mask.shape[0], rgba.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    view = rgba[y1:y2, x1:x2]
    weight = cv2.convertScaleAbs(mask[y1 - top : y2 - top, x1 - left : x2 - left], alpha=opacity)
    keep = cv2.bitwise_not(weight)
    ink = cv2.merge([cv2.convertScaleAbs(weight, alpha=value / 255) for value in (*rgb, 255)])
    cv2.multiply(view, cv2.merge([keep, keep, keep, keep]), view, 1 / 255)
    cv2.add(view, ink, view)


@lru_cache(maxsize=32)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """The TrueType font inside Pillow: nothing to install, the same on every machine."""
    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ImportError("Pillow was built without FreeType; reinstall it with: pip install --force-reinstall pillow")
    return font


def _whole(length: int) -> int:
    """The next multiple of the oversampling."""
    return max(1, -(-length // OVERSAMPLE)) * OVERSAMPLE


def _reduced(mask: Bytes) -> Bytes:
    size = (mask.shape[1] // OVERSAMPLE, mask.shape[0] // OVERSAMPLE)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
