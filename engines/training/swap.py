"""Face swaps made of real faces only: another person's face, bent onto this one's landmarks, recoloured and blended.

From crude to good, as swaps are: aligned as a whole or triangle by triangle, its colours matched or not, through a hard
or a soft mask, sometimes with Poisson blending (Pérez et al. 2003). Donors have the nearest landmark shape (Li et al.
2020). All pictures are (S, S, 3) RGB bytes of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from engines.training.degrade import Floats, Rgb, Rng, as_rgb, shift_colour, to_bytes
from engines.training.face_hulls import face_core, hull_mask
from engines.training.faces import Face
from engines.training.landmarks import Points, aligned, known, similarity
from engines.training.self_blend import blended, changed_sharpness

NEAREST = 40
"""Donors that a real may draw from."""
_GAINS = (0.6, 1.6)
"""Limits of the spread that colour matching may give."""


@dataclass(frozen=True, repr=False)
class Still:
    """A picture and its landmarks."""

    rgb: Rgb
    points: Points


class Donors:
    """Whose face fits whose: real faces by the shape of their landmarks."""

    def __init__(self, faces: Sequence[Face], points: Points) -> None:
        """``points``: (N, 68, 2), NaN in the rows of fakes and wherever they are unknown."""
        self._rows = np.flatnonzero(known(points))
        self._shapes = dict(zip(self._rows.tolist(), _shapes(points[self._rows]), strict=True))
        self._table = np.stack(list(self._shapes.values())) if self._shapes else np.zeros((0, 136), np.float32)
        self._source_of = np.unique([face.source for face in faces], return_inverse=True)[1]
        self._sources = self._source_of[self._rows]

    def of(self, rng: Rng, row: int) -> int | None:
        """The row of one of the nearest faces of another source; None where points are unknown or nobody is left."""
        if row not in self._shapes:
            return None
        others = np.flatnonzero(self._sources != self._source_of[row])
        if not len(others):
            return None
        # of unit vectors the nearest have the largest product; BLAS would wake threads that wait for busy cores
        likeness = np.einsum("nf,f->n", self._table, self._shapes[row])[others]
        nearest = np.argpartition(-likeness, min(NEAREST, len(others)) - 1)[:NEAREST]
        return int(self._rows[others[rng.choice(np.sort(nearest))]])


def swapped(rng: Rng, target: Still, donor: Still) -> tuple[Rgb, Floats]:
    """``target`` with ``donor``'s face, and the mask (S, S) in 0-1 that it was blended through."""
    side = target.rgb.shape[0]
    shape = _shape(rng, target.points, donor.points)
    face = warped(donor, shape)
    face = _recoloured(rng, face, target.rgb, face_core(target.points, side))
    face = changed_sharpness(rng, face)
    mask = hull_mask(rng, target.points, side)
    if rng.random() < 0.15:
        face = _cloned(face, target.rgb, mask)
    return blended(face, target.rgb, mask), mask


def warped(still: Still, shape: Points) -> Rgb:
    """The picture bent triangle by triangle so that its points come to lie in ``shape``; around them it follows as a
    whole."""
    side = still.rgb.shape[0]
    rim = side * np.array([(x, y) for x in (-0.3, 0.5, 1.3) for y in (-0.3, 0.5, 1.3) if (x, y) != (0.5, 0.5)])
    back = similarity(shape, still.points)
    targets = np.concatenate([shape, rim]).astype(np.float32)
    sources = np.concatenate([still.points, rim @ back[:, :2].T + back[:, 2]]).astype(np.float32)
    x, y = _places(targets, sources, Delaunay(targets).simplices, side)
    return as_rgb(cv2.remap(still.rgb, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def matched_colour(face: Rgb, target: Rgb, core: Floats, amount: float) -> Rgb:
    """``face`` with the mean and spread of ``target``'s colours under ``core``, in Lab (Reinhard et al. 2001).

    ``amount`` 0 leaves it alone, 1 matches fully.
    """
    lab, wanted = (cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB) for rgb in (face, target))
    inside = (core > 0.5).astype(np.uint8)
    (mean, spread), (wanted_mean, wanted_spread) = (cv2.meanStdDev(picture, mask=inside) for picture in (lab, wanted))
    gain = np.clip(wanted_spread / (spread + 1e-3), *_GAINS)
    curves = to_bytes((np.arange(256) - mean) * gain + wanted_mean + 0.5)  # (3, 256)
    matched = cv2.cvtColor(cv2.LUT(lab, np.ascontiguousarray(curves.T[None])), cv2.COLOR_LAB2RGB)
    return as_rgb(cv2.addWeighted(matched, amount, face, 1 - amount, 0))


def _shapes(points: Points) -> Floats:
    """(N, 136) unit vectors, landmarks without place and size: the head's turn, tilt and expression are left."""
    centred = points - points.mean(1, keepdims=True)
    size = np.sqrt(np.square(centred).sum((1, 2), keepdims=True))
    return np.asarray((centred / size).reshape(len(points), -1), np.float32)


def _shape(rng: Rng, target: Points, donor: Points) -> Points:
    """Where the donor's points go: onto the target's, where they fall by themselves, or in between."""
    own, draw = aligned(donor, target), rng.random()
    share = 1.0 if draw < 0.4 else 0.0 if draw < 0.6 else rng.uniform(0, 1)
    return np.asarray(share * target + (1 - share) * own, np.float32)


def _recoloured(rng: Rng, face: Rgb, target: Rgb, core: Floats) -> Rgb:
    """Mostly matched well, sometimes halfway, seldom not at all."""
    draw = rng.random()
    amount = rng.uniform(0.85, 1) if draw < 0.75 else rng.uniform(0.4, 0.85) if draw < 0.95 else 0.0
    face = matched_colour(face, target, core, amount)
    return shift_colour(rng, face, 0.05) if rng.random() < 0.5 else face


def _cloned(face: Rgb, target: Rgb, mask: Floats) -> Rgb:
    """Poisson blending: the gradients of the face from the target's values at the mask's edge inwards."""
    hard = np.zeros(mask.shape, np.uint8)
    hard[3:-3, 3:-3] = np.where(mask[3:-3, 3:-3] > 0.1, 255, 0)
    left, top, width, height = cv2.boundingRect(hard)
    if min(width, height) < 8:
        return face
    return as_rgb(cv2.seamlessClone(face, target, hard, (left + width // 2, top + height // 2), cv2.NORMAL_CLONE))


def _places(targets: Points, sources: Points, triangles: NDArray[np.int32], side: int) -> Floats:
    """(2, side, side) x, y in the source of every pixel of the target."""
    of_pixel = np.zeros((side, side), np.int32)
    for number, corners in enumerate(triangles):
        cv2.fillConvexPoly(of_pixel, np.round(targets[corners]).astype(np.int32), (number,))
    affines = np.stack([cv2.getAffineTransform(targets[corners], sources[corners]) for corners in triangles])
    across, down, shift = np.moveaxis(affines.astype(np.float32), 0, 2).transpose(1, 0, 2)  # (2, triangles) each
    y, x = np.mgrid[:side, :side].astype(np.float32)
    return np.asarray(across[:, of_pixel] * x + down[:, of_pixel] * y + shift[:, of_pixel], np.float32)
