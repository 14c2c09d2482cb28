"""A face swap as hobby tools make it: landmarks, mesh warp, colour match, seamless blend (Pérez et al. 2003).

All pictures are RGB bytes (H, W, 3); points are (68, 2) x, y in the order of iBUG 300-W, in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from engines.preprocess import Bytes
from stream.demo.materials import Actor, Points

Triangles = NDArray[np.int32]

JAW, BROWS, EYES, MOUTH = slice(0, 17), slice(17, 27), (slice(36, 42), slice(42, 48)), slice(48, 68)
STEADY = [*range(17), *range(27, 36), 36, 39, 42, 45]
"""Points that expressions move least: jaw, nose, corners of the eyes. They carry the head's pose."""
EXPRESSION_GAIN = 0.7
"""How much of the actor's expression is taken: at 1 the shape outgrows the portrait's head."""
OWN_MOUTH = 0.8
"""How much of the actor's own mouth is taken: stretched over the portrait's smile it becomes a grimace."""
FOREHEAD = 0.14
"""How far the mask reaches above the brows, as a fraction of brow to chin: no hair may touch its edge."""
INSET = 0.07
"""How far the mask stays inside the face's outline, as a fraction of its size: hair and collar stay the portrait's."""
FEATHER = 0.06
"""Width of the mask's soft edge, likewise."""
ENLARGED = 4
"""The actor is enlarged by this before warping, with its edges sharpened."""


@dataclass(frozen=True, repr=False)
class Face:
    """A picture of one face and its landmarks."""

    rgb: Bytes
    points: Points


@dataclass(frozen=True, repr=False)
class Patch:
    """A swapped piece of the portrait and where it lies."""

    rgb: Bytes
    left: int
    top: int

    def on(self, portrait: Bytes) -> Bytes:
        """A copy of ``portrait`` with this piece in its place."""
        swapped: Bytes = portrait.copy()
        height, width = self.rgb.shape[:2]
        swapped[self.top : self.top + height, self.left : self.left + width] = self.rgb
        return swapped


def swapped_patches(portrait: Bytes, points: Points, actor: Actor) -> Iterator[Patch]:
    """The actor's face on the portrait, one piece for each of the actor's frames, all of one size."""
    shapes = moving_shapes(points, actor.points)
    left, top, right, bottom = _surroundings(shapes, portrait.shape[1], portrait.shape[0])
    around = np.ascontiguousarray(portrait[top:bottom, left:right])
    corner = np.array([left, top], np.float64)
    triangles = mesh(points)
    for rgb, its_points, shape in zip(actor.frames, actor.points, shapes, strict=True):
        x1, y1, x2, y2 = _surroundings(its_points[None], rgb.shape[1], rgb.shape[0])
        face_points = (its_points - (x1, y1)) * ENLARGED
        face = Face(enlarged(rgb[y1:y2, x1:x2]), face_points)
        yield Patch(swap(Face(around, points - corner), shape - corner, face, triangles), left, top)


def swap(target: Face, shape: Points, face: Face, triangles: Triangles) -> Bytes:
    """``target``'s picture with ``face`` put onto it in the given shape."""
    size_wh = (target.rgb.shape[1], target.rgb.shape[0])
    warped = warp(face.rgb, face.points, shape, triangles, size_wh)
    mask = face_mask(shape, size_wh)
    skin = skin_mask(mask, (shape, target.points))
    cloned = cloned_onto(target.rgb, match_colour(warped, target.rgb, skin), mask)
    return mixed(toned(cloned, target.rgb, skin), target.rgb, mask)


def moving_shapes(neutral: Points, actor: Points) -> Points:
    """(frames, 68, 2): the neutral shape with the actor's expressions, without its pose and proportions."""
    posed = np.stack([aligned(points, neutral) for points in actor])
    expression = posed - posed.mean(axis=0)
    return np.asarray(_with_mouth(neutral, posed.mean(axis=0)) + EXPRESSION_GAIN * expression)


def _with_mouth(neutral: Points, actor: Points) -> Points:
    """``neutral`` with (mostly) the actor's mouth, centred where its own was."""
    shape: Points = neutral.copy()
    own, taken = neutral[MOUTH], actor[MOUTH]
    centred = taken - taken.mean(axis=0) + own.mean(axis=0)
    shape[MOUTH] = (1 - OWN_MOUTH) * own + OWN_MOUTH * centred
    return shape


def aligned(points: Points, target: Points) -> Points:
    """``points`` moved, turned and scaled onto ``target`` (least squares over the steady points; Umeyama 1991)."""
    source_mean, target_mean = points[STEADY].mean(axis=0), target[STEADY].mean(axis=0)
    source, wanted = points[STEADY] - source_mean, target[STEADY] - target_mean
    left, strengths, right = np.linalg.svd(wanted.T @ source)
    turn = np.diag([1.0, np.sign(np.linalg.det(left @ right))])
    scale = (strengths * np.diag(turn)).sum() / (source**2).sum()
    return np.asarray((points - source_mean) @ (scale * left @ turn @ right).T + target_mean)


def mesh(points: Points) -> Triangles:
    """Delaunay triangles over the face and its forehead: (triangles, 3) indices into ``with_forehead(points)``."""
    return np.asarray(Delaunay(with_forehead(points)).simplices, np.int32)


def with_forehead(points: Points) -> Points:
    """The points and ten more above the brows: the landmarks end at the brows, a face does not."""
    brows = points[BROWS]
    up = brows.mean(axis=0) - points[8]
    return np.concatenate([points, brows + 0.3 * up])


def warp(face: Bytes, face_points: Points, shape: Points, triangles: Triangles, size_wh: tuple[int, int]) -> Bytes:
    """``face`` bent triangle by triangle from its points into ``shape``; black outside the mesh."""
    sources, targets = with_forehead(face_points), with_forehead(shape)
    maps = np.full((size_wh[1], size_wh[0], 2), -1.0, np.float32)
    for corners in triangles:
        _fill_triangle(maps, targets[corners], sources[corners])
    return np.asarray(cv2.remap(face, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR), np.uint8)


def _fill_triangle(maps: NDArray[np.float32], target: Points, source: Points) -> None:
    """Write, for each pixel of ``target``, where in ``source`` it comes from."""
    affine = cv2.getAffineTransform(target.astype(np.float32), source.astype(np.float32))
    left, top = np.maximum(np.floor(target.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(target.max(axis=0)).astype(int) + 1, (maps.shape[1], maps.shape[0]))
    if right <= left or bottom <= top:
        return
    inside = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillConvexPoly(inside, np.round(target - (left, top)).astype(np.int32), 1)
    x, y = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    found = np.stack([x, y, np.ones_like(x)], axis=-1) @ affine.T
    maps[top:bottom, left:right][inside > 0] = found[inside > 0]


def face_mask(shape: Points, size_wh: tuple[int, int]) -> Bytes:
    """(H, W): 255 inside the face, falling softly to 0 at its edge."""
    size = _size(shape)
    hull = cv2.convexHull(_outline(shape).astype(np.int32))
    mask: Bytes = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    cv2.fillConvexPoly(mask, hull, 255)
    inset, feather = (max(1, round(part * size)) for part in (INSET, FEATHER))
    inner = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * inset + 1, 2 * inset + 1)))
    soft = cv2.GaussianBlur(inner, (0, 0), feather / 2)
    return np.asarray(np.where(_filled(shape, size_wh) > 0, soft, 0), np.uint8)


def _outline(shape: Points) -> Points:
    brows = shape[BROWS]
    return np.concatenate([shape[JAW], brows + FOREHEAD * (brows.mean(axis=0) - shape[8])])


def _filled(shape: Points, size_wh: tuple[int, int]) -> Bytes:
    """Where the mesh has pixels."""
    inside = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(with_forehead(shape).astype(np.int32)), 255)
    return np.asarray(cv2.erode(inside, np.ones((3, 3), np.uint8)), np.uint8)


def match_colour(face: Bytes, target: Bytes, mask: Bytes) -> Bytes:
    """``face`` with the mean and spread of ``target``'s colours under ``mask``, in Lab (Reinhard et al. 2001)."""
    lab, wanted = (np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.uint8) for rgb in (face, target))
    (mean, spread), (wanted_mean, wanted_spread) = _statistics(lab, mask), _statistics(wanted, mask)
    gain = np.clip(wanted_spread / (spread + 1e-3), 0.5, 1.5)
    levels = np.arange(256)[:, None]
    table = np.clip(np.round((levels - mean) * gain + wanted_mean), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.LUT(lab, table[None]), cv2.COLOR_LAB2RGB), np.uint8)


def toned(face: Bytes, target: Bytes, mask: Bytes) -> Bytes:
    """Halfway between two wrongs: matched spread greys the mouth's darkness, scaled light bleaches the skin."""
    both = match_colour(face, target, mask), relit(face, target, mask)
    return np.asarray(cv2.addWeighted(both[0], 0.6, both[1], 0.4, 0), np.uint8)


def relit(face: Bytes, target: Bytes, mask: Bytes) -> Bytes:
    """``face`` with each channel scaled to ``target``'s mean under ``mask``: what is dark stays dark."""
    (mean, _), (wanted, _) = _statistics(face, mask), _statistics(target, mask)
    levels = np.arange(256)[:, None] * (wanted / np.maximum(mean, 1.0))
    return np.asarray(cv2.LUT(face, np.clip(np.round(levels), 0, 255).astype(np.uint8)[None]), np.uint8)


def _statistics(picture: Bytes, mask: Bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel, (3,) each."""
    mean, spread = cv2.meanStdDev(picture, mask=mask)
    return np.asarray(mean, np.float64).ravel(), np.asarray(spread, np.float64).ravel()


def skin_mask(mask: Bytes, shapes: tuple[Points, ...]) -> Bytes:
    """(H, W): 255 well inside the face, 0 at the eyes and mouths of all shapes: their darkness says nothing of skin."""
    skin = np.where(mask > 127, 255, 0).astype(np.uint8)
    for shape in shapes:
        for part in (*EYES, MOUTH):
            hull = cv2.convexHull(shape[part].astype(np.int32))
            cv2.fillConvexPoly(skin, hull, 0)
            cv2.polylines(skin, [hull], True, 0, thickness=max(1, round(0.05 * _size(shape))))
    return skin


def cloned_onto(target: Bytes, face: Bytes, mask: Bytes) -> Bytes:
    """``face`` over ``target``, its light made to fit at the mask's edge (Poisson)."""
    hard = np.where(mask > 8, 255, 0).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(hard)
    centre = (left + width // 2, top + height // 2)
    return np.asarray(cv2.seamlessClone(face, target, hard, centre, cv2.NORMAL_CLONE), np.uint8)


def mixed(face: Bytes, target: Bytes, mask: Bytes) -> Bytes:
    """As much of ``face`` over ``target`` as the mask says."""
    share = (mask.astype(np.float32) / 255)[..., None]
    return np.asarray(np.round(face * share + target * (1 - share)), np.uint8)


def enlarged(rgb: Bytes) -> Bytes:
    """The actor's small picture, enlarged, its edges sharpened a little."""
    large = cv2.resize(rgb, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_LANCZOS4)
    soft = cv2.GaussianBlur(large, (0, 0), 0.6 * ENLARGED)
    return np.asarray(cv2.addWeighted(large, 1.8, soft, -0.8, 0), np.uint8)


def _surroundings(shapes: Points, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the piece that holds every shape with its forehead and a border."""
    points = np.concatenate([with_forehead(shape) for shape in shapes])
    border = 0.15 * _size(shapes[0])
    left, top = np.maximum(np.floor(points.min(axis=0) - border), 0).astype(int)
    right, bottom = np.minimum(np.ceil(points.max(axis=0) + border), (width, height)).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _size(shape: Points) -> float:
    """From between the brows to the chin, in pixels."""
    return float(np.linalg.norm(shape[BROWS].mean(axis=0) - shape[8]))
