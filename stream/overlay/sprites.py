"""Small pictures with alpha, kept the way frames are kept: as 4:2:0 planes.

A sprite is made once and blended many times. Blending is ``plane * keep / 255 + add``, two SIMD passes of OpenCV over
the sprite's rectangle only; sprites have even sizes and lie on even coordinates, so luma and chroma stay aligned.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Bytes, Planes
from stream.overlay.palette import yuv_matrix


@dataclass(frozen=True, repr=False)
class Layer:
    """One plane of a sprite; two channels for NV12's chroma."""

    keep: Bytes
    """255 - alpha."""
    add: Bytes
    """The plane's value * alpha / 255, of the same shape."""


@dataclass(frozen=True, repr=False)
class Sprite:
    """A small picture for frames of one layout: luma (H, W), then chroma of half its size."""

    luma: Layer
    chroma: tuple[Layer, ...]

    @property
    def width(self) -> int:
        return int(self.luma.keep.shape[1])

    @property
    def height(self) -> int:
        return int(self.luma.keep.shape[0])

    @property
    def bytes(self) -> int:
        """Of its pixels."""
        return sum(2 * layer.keep.nbytes for layer in (self.luma, *self.chroma))


def sprite_from_rgba(rgba: Bytes, like: Planes) -> Sprite:
    """From an (H, W, 4) picture with straight alpha, for frames laid out and coloured ``like`` the given one.

    Odd sizes get a transparent row or column.
    """
    rgba = _even(rgba)
    alpha = np.ascontiguousarray(rgba[..., 3])
    yuv = cv2.transform(rgba[..., :3], yuv_matrix(like.matrix, like.full_range))
    y, u, v = cv2.split(cv2.multiply(yuv, cv2.merge([alpha, alpha, alpha]), scale=1 / 255))
    luma = Layer(255 - alpha, np.asarray(y, np.uint8))
    keep, u, v = _halved(luma.keep), _halved(u), _halved(v)
    if len(like.chroma) == 1:
        return Sprite(luma, (Layer(np.stack([keep, keep], -1), np.stack([u, v], -1)),))
    return Sprite(luma, (Layer(keep, u), Layer(keep, v)))


def _halved(plane: NDArray[Any]) -> Bytes:
    size = (plane.shape[1] // 2, plane.shape[0] // 2)
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _even(rgba: Bytes) -> Bytes:
    height, width = rgba.shape[:2]
    if height % 2 or width % 2:
        return np.asarray(cv2.copyMakeBorder(rgba, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT), dtype=np.uint8)
    return rgba


def blend(planes: Planes, sprite: Sprite, left: int, top: int) -> None:
    """Lay ``sprite`` over the frame in place; what reaches over the border is cut. Rounds down to even corners."""
    column, row = left // 2, top // 2
    _blend_layer(planes.y, sprite.luma, 2 * column, 2 * row)
    for plane, layer in zip(planes.chroma, sprite.chroma, strict=True):
        _blend_layer(plane, layer, column, row)


def fill(planes: Planes, rect: tuple[int, int, int, int], yuv: tuple[int, int, int]) -> None:
    """Paint (left, top, right, bottom), rounded down to even coordinates, opaque and cut at the border."""
    left, top, right, bottom = (max(0, value // 2) for value in rect)
    planes.y[2 * top : 2 * bottom, 2 * left : 2 * right] = yuv[0]
    if len(planes.chroma) == 1:
        planes.chroma[0][top:bottom, left:right] = yuv[1:]
        return
    for plane, value in zip(planes.chroma, yuv[1:], strict=True):
        plane[top:bottom, left:right] = value


def _blend_layer(plane: Bytes, layer: Layer, left: int, top: int) -> None:
    height, width = layer.keep.shape[:2]
    right, bottom = left + width, top + height
    if left >= 0 and top >= 0 and right <= plane.shape[1] and bottom <= plane.shape[0]:
        view, keep, add = plane[top:bottom, left:right], layer.keep, layer.add
    else:
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, plane.shape[1]), min(bottom, plane.shape[0])
        if x1 >= x2 or y1 >= y2:
            return
        inside = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
        view, keep, add = plane[y1:y2, x1:x2], layer.keep[inside], layer.add[inside]
    cv2.multiply(view, keep, view, 1 / 255)
    cv2.add(view, add, view)


KEPT_BYTES = 8 << 20
"""Three pictures of 2160p with four full panels each. A panel is another one with each sample, so more of them would be
kept for nothing."""
BYTES_BESIDE = 6_000
"""What a sprite costs beside its pixels: its arrays' heads, and its key, which holds a panel's whole curve. In small
pictures that is more than the pixels."""


class SpriteCache:
    """Sprites by what they show; the longest unused go when the cache is over ``max_bytes``. One thread."""

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._sprites: OrderedDict[Hashable, Sprite] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Of pixels and of what they cost beside."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._sprites)

    def get(self, key: Hashable, make: Callable[[], Sprite]) -> Sprite:
        """The sprite of ``key``; ``make`` is called when it is not there."""
        sprite = self._sprites.get(key)
        if sprite is None:
            sprite = self._sprites[key] = make()
            self._bytes += sprite.bytes + BYTES_BESIDE
            self._trim()
        else:
            self._sprites.move_to_end(key)
        return sprite

    def _trim(self) -> None:
        while self._bytes > self._max_bytes and len(self._sprites) > 1:
            _, oldest = self._sprites.popitem(last=False)
            self._bytes -= oldest.bytes + BYTES_BESIDE
