"""What evidence shows: the drawn picture, the face's crops, the heat map. Pure: planes and arrays to JPEG."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engines.jpeg import jpeg_from_rgb
from engines.preprocess import Bytes, Floats, Planes, reduced_rgb
from stream.evidence.heatmap import HeatMap
from stream.evidence.memory import Picture
from stream.overlay import Overlay, OverlayStyle
from stream.types import FaceScore, TrackId, Xyxy

QUALITY = 92
BLOCKS = 5
"""What is left of a blurred face: so many values along each side."""
WIDER = 0.25
"""Share of a face's box by which more than it is blurred, on each side: hair and chin tell who it is."""
FLATTEST = 0.05
"""A heat map whose logits differ by less says nothing: it is left uncoloured."""
HEAT_SIDE = 448


def snapshot_jpeg(picture: Picture, style: OverlayStyle, blurred: Sequence[FaceScore] = ()) -> bytes:
    """The picture as the live video shows it. Draws on the picture's own memory."""
    planes, scene = picture.planes, picture.scene
    for face in blurred:
        blur(planes, face.xyxy)
    Overlay(style).draw(planes, scene, scene.captured_ns)
    return jpeg(reduced_rgb(planes, (planes.width, planes.height)))


def others(picture: Picture, track_id: TrackId | None) -> tuple[FaceScore, ...]:
    """Faces of the picture that are not this track's; all of them when there is none."""
    return tuple(face for face in picture.scene.faces if face.track_id != track_id)


def blur(planes: Planes, xyxy: Xyxy) -> None:
    """Leave a handful of values of a face and its surroundings, in place; nothing can bring it back."""
    left, top, right, bottom = xyxy
    dx, dy = WIDER * (right - left), WIDER * (bottom - top)
    box = (left - dx, top - dy, right + dx, bottom + dy)
    _blocks(planes.y, box)
    for plane in planes.chroma:
        _blocks(plane, (box[0] / 2, box[1] / 2, box[2] / 2, box[3] / 2))


def _blocks(plane: Bytes, box: Xyxy) -> None:
    height, width = plane.shape[:2]
    left, right = (int(min(max(value, 0), width)) for value in (box[0], box[2] + 1))
    top, bottom = (int(min(max(value, 0), height)) for value in (box[1], box[3] + 1))
    part = plane[top:bottom, left:right]
    if part.size:
        few = cv2.resize(np.ascontiguousarray(part), (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
        part[...] = cv2.resize(few, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR).reshape(part.shape)


def heat_jpeg(heat: HeatMap) -> bytes:
    """The newest crop with the parts the score rests on in colour, and beside it as it is."""
    warmth = cv2.resize(relative(heat), (HEAT_SIDE, HEAT_SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    crop = cv2.resize(heat.crop, (HEAT_SIDE, HEAT_SIDE), interpolation=cv2.INTER_CUBIC)
    colours = cv2.applyColorMap(np.rint(warmth * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (0.75 * warmth)[..., None]
    return jpeg(np.hstack([np.rint(crop * (1 - share) + colours * share).astype(np.uint8), crop]))


def relative(heat: HeatMap) -> Floats:
    """(CELLS, CELLS) in 0-1: how much more each cell matters than the middle one; all 0 where none stands out.

    Blurring itself moves the score a little wherever it is done, so only the differences between cells mean something.
    """
    middle, most = float(np.median(heat.drops)), float(heat.drops.max())
    if most - middle < FLATTEST:
        return np.zeros(heat.drops.shape, np.float32)
    return np.asarray(np.clip((heat.drops - middle) / (most - middle), 0, 1), np.float32)


def jpeg(rgb: Bytes) -> bytes:
    """(H, W, 3) RGB."""
    return jpeg_from_rgb(rgb, QUALITY)
