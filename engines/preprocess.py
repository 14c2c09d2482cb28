"""Pixels to tensors: the one cropper that training and the live path share.

A face is framed by a ``Square`` in frame pixels. Crops are taken from RGB pictures (training) or straight from the
decoder's YUV planes (live): each plane is cut and resized on its own and only the small result is converted to RGB,
so a 4K frame costs no more than a 480p one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.spec import PixelSpec

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Square:
    """An axis-aligned square in frame pixels; it may reach over the frame's border."""

    cx: float
    cy: float
    side: float


@dataclass(frozen=True)
class BoxGeometry:
    """How a detector's boxes sit relative to the training crops (measured; see bench/crop_geometry.py)."""

    side_ratio: float
    """Larger side of the detector's box / side of the training crop."""
    rise: float
    """How far the box's centre lies above the crop's centre, as a fraction of the crop's side."""


@dataclass(frozen=True)
class Levels:
    """How a network takes bytes: (byte - mean) / std, per channel in its own colour order."""

    colour: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, repr=False)
class Planes:
    """Views of a decoded 4:2:0 frame, never copies. ``width`` and ``height`` are the luma's."""

    y: Bytes
    """(H, W)"""
    chroma: tuple[Bytes, ...]
    """I420: U and V, each (ceil(H/2), ceil(W/2)). NV12: one (ceil(H/2), ceil(W/2), 2) of U, V pairs."""
    matrix: Literal["bt601", "bt709"] = "bt601"
    full_range: bool = False

    @property
    def width(self) -> int:
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        return int(self.y.shape[0])

    def __repr__(self) -> str:
        return f"Planes({self.width}x{self.height}, {'I420' if len(self.chroma) == 2 else 'NV12'}, {self.matrix})"


@dataclass(frozen=True)
class FaceView:
    """A face's square on a borrowed frame."""

    planes: Planes
    square: Square


def square_from_box(xyxy: tuple[float, float, float, float], geometry: BoxGeometry, margin: float = 1.0) -> Square:
    """The training crop's frame around a detector's box; ``margin`` widens it."""
    x1, y1, x2, y2 = xyxy
    side = max(x2 - x1, y2 - y1) / geometry.side_ratio
    return Square((x1 + x2) / 2, (y1 + y2) / 2 + geometry.rise * side, side * margin)


def crop_rgb(rgb: Bytes, square: Square, size: int) -> Bytes:
    """Cut ``square`` from an (H, W, 3) picture and resize to (size, size, 3); the border is replicated."""
    return _cut(rgb, *_corner(square), size)


def crop_planes(planes: Planes, square: Square, size: int) -> Bytes:
    """Cut ``square`` from YUV planes: (size, size, 3) RGB, equal to crop_rgb on the converted frame up to rounding."""
    left, top, extent = (2 * value for value in chroma_corner(square))
    luma = _cut(planes.y, left, top, extent, size)
    chroma = [_cut(plane, left // 2, top // 2, extent // 2, size) for plane in planes.chroma]
    return _rgb(luma, chroma, planes)


def crop_grey(planes: Planes, square: Square, size: int) -> Bytes:
    """(size, size) brightness of what ``crop_planes`` cuts, on the scale of RGB: for whoever needs no colour."""
    left, top, extent = (2 * value for value in chroma_corner(square))
    luma = _cut(planes.y, left, top, extent, size)
    return luma if planes.full_range else np.asarray(cv2.LUT(luma, _FROM_LIMITED), np.uint8)


def reduced_rgb(planes: Planes, size_wh: tuple[int, int]) -> Bytes:
    """The whole frame resized to (height, width, 3) RGB, for detectors; aspect ratio is the caller's business."""
    luma = _resize(planes.y, size_wh)
    return _rgb(luma, [_resize(plane, size_wh) for plane in planes.chroma], planes)


def rgb_from_yuv444(yuv: Bytes, matrix: str, full_range: bool) -> Bytes:
    """(H, W, 3) Y, U, V to RGB by ITU-R BT.601 or BT.709, limited or full range."""
    return np.asarray(cv2.transform(yuv, YUV_TO_RGB[matrix, full_range]), dtype=np.uint8)


def levels_of(pixels: PixelSpec) -> Levels:
    return Levels(pixels.colour, pixels.mean, pixels.std)


def normalise(crops: Sequence[Bytes], pixels: PixelSpec) -> Floats:
    """RGB uint8 crops, each (S, S, 3), to one (N, 3, S, S) float32 batch in the network's colour order.

    (byte - mean) / std of every byte there is, looked up: a seventh of the time of computing it for every pixel.
    """
    levels, order = _levels(pixels), (2, 1, 0) if pixels.colour == "bgr" else (0, 1, 2)
    batch: Floats = np.empty((len(crops), 3, *crops[0].shape[:2]), np.float32)
    for crop, planes in zip(crops, batch, strict=True):
        for plane, table, channel in zip(planes, levels, order, strict=True):
            cv2.LUT(cv2.extractChannel(crop, channel), table, dst=plane)
    return batch


def _levels(pixels: PixelSpec) -> Floats:
    """(3, 256) float32: what the network's channels take for each byte."""
    mean, std = (np.asarray(values, np.float32)[:, None] for values in (pixels.mean, pixels.std))
    return np.ascontiguousarray((np.arange(256, dtype=np.float32) - mean) / std)


def chroma_corner(square: Square) -> tuple[int, int, int]:
    """Left, top and side in chroma samples: cuts from planes lie on this grid, so that the planes stay aligned."""
    return _corner(square, step=2)


def _corner(square: Square, step: int = 1) -> tuple[int, int, int]:
    """Left, top and side in whole units of ``step`` pixels."""
    extent = max(1, round(square.side / step))
    return round(square.cx / step - extent / 2), round(square.cy / step - extent / 2), extent


def _cut(picture: Bytes, left: int, top: int, extent: int, size: int) -> Bytes:
    height, width = picture.shape[:2]
    x1, y1 = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    x2, y2 = max(min(left + extent, width), x1 + 1), max(min(top + extent, height), y1 + 1)
    inside = picture[y1:y2, x1:x2]
    if (x2 - x1, y2 - y1) != (extent, extent):
        inside = _pad(inside, extent, x1 - left, y1 - top)
    return _resize(inside, (size, size))


def _pad(inside: Bytes, extent: int, left: int, top: int) -> Bytes:
    """Replicate the border out to (extent, extent), with ``inside`` at (top, left) as far as it fits."""
    left = min(max(left, 0), extent - inside.shape[1])
    top = min(max(top, 0), extent - inside.shape[0])
    right, bottom = extent - left - inside.shape[1], extent - top - inside.shape[0]
    return np.asarray(cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE), dtype=np.uint8)


def _resize(picture: Bytes, size_wh: tuple[int, int]) -> Bytes:
    shrinks = picture.shape[1] > size_wh[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size_wh, interpolation=interpolation), dtype=np.uint8)


def _rgb(luma: Bytes, chroma: list[Bytes], planes: Planes) -> Bytes:
    pair = chroma if len(chroma) == 2 else cv2.split(chroma[0])
    merged = np.asarray(cv2.merge([luma, *pair]), dtype=np.uint8)
    return rgb_from_yuv444(merged, planes.matrix, planes.full_range)


def _conversion(kr: float, kb: float, full_range: bool) -> NDArray[np.float32]:
    """(3, 4) affine map from Y, U, V bytes to R, G, B bytes (ITU-R BT.601-7 and BT.709-6, section 3)."""
    kg = 1 - kr - kb
    luma_gain, luma_zero = (1.0, 0.0) if full_range else (255 / 219, 16.0)
    chroma_gain = 1.0 if full_range else 255 / 224
    red_v, blue_u = 2 * (1 - kr) * chroma_gain, 2 * (1 - kb) * chroma_gain
    green_u, green_v = -blue_u * kb / kg, -red_v * kr / kg
    linear = np.array([[luma_gain, 0, red_v], [luma_gain, green_u, green_v], [luma_gain, blue_u, 0]])
    offset = -linear @ np.array([luma_zero, 128.0, 128.0])
    return np.hstack([linear, offset[:, None]]).astype(np.float32)


YUV_TO_RGB = {
    (name, full): _conversion(kr, kb, full)
    for name, kr, kb in (("bt601", 0.299, 0.114), ("bt709", 0.2126, 0.0722))
    for full in (False, True)
}
"""(matrix, full range) to the (3, 4) map."""
_FROM_LIMITED = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
"""Limited-range luma to grey."""
