"""68 points of each real face, in the order of iBUG 300-W: found once by dlib's predictor and kept beside the pictures.

The face fills these pictures, so that no detector is asked: the predictor is given the picture itself as the face's box
and a second, tighter box. Where its two answers disagree, the points are not trusted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.degrade import Rgb
from engines.training.errors import TrainingError
from engines.training.faces import FaceSet
from engines.whole_file import replacing

log = logging.getLogger(__name__)

Points = NDArray[np.float32]
"""(68, 2) x, y in pixels of the picture."""
COUNT = 68
_BOXES = ((0.0, 0.0, 1.0, 1.0), (0.06, 0.1, 0.94, 1.0))
"""Left, top, right, bottom as fractions of the side."""
_WORST_DISAGREEMENT = 0.03
"""Of the side, mean over the points."""
_LOG_EVERY = 2000


class LandmarkFinder:
    """dlib's predictor. Raises TrainingError when it is not installed."""

    def __init__(self) -> None:
        self._dlib = _dlib()
        self._predictor = self._dlib.shape_predictor(str(_weights()))

    def find(self, rgb: Rgb) -> Points | None:
        """Points of the face that fills an (S, S, 3) picture; None where they are doubtful."""
        answers = np.stack([self._within(rgb, box) for box in _BOXES])
        disagreement = np.linalg.norm(answers[0] - answers[1], axis=1).mean() / rgb.shape[0]
        return answers.mean(0) if disagreement <= _WORST_DISAGREEMENT else None

    def _within(self, rgb: Rgb, box: tuple[float, float, float, float]) -> Points:
        corners = (round(part * rgb.shape[0]) for part in box)
        found = self._predictor(rgb, self._dlib.rectangle(*corners))
        return np.array([(point.x, point.y) for point in found.parts()], np.float32)


def open_landmarks(faces: FaceSet, scratch: Path) -> Points:
    """(N, 68, 2) for every row of ``faces``; NaN for fakes and for doubtful reals. Found once, read ever after."""
    path, names = scratch / "landmarks.npz", [face.name for face in faces.faces]
    if (kept := _kept(path, names)) is not None:
        return kept
    points = _find_all(faces)
    scratch.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez(file, names=np.array(names), points=points)
    return points


def known(points: Points) -> NDArray[np.bool_]:
    """(N,) whether a row's points were found."""
    return np.asarray(~np.isnan(points[:, 0, 0]), np.bool_)


def aligned(points: Points, target: Points) -> Points:
    """``points`` moved, turned and scaled onto ``target`` by least squares (Umeyama 1991)."""
    matrix = similarity(points, target)
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def similarity(points: Points, target: Points) -> NDArray[np.float64]:
    """(2, 3) of the move, turn and scale that ``aligned`` applies."""
    mean, wanted_mean = points.mean(0), target.mean(0)
    source, wanted = points.astype(np.float64) - mean, target.astype(np.float64) - wanted_mean
    left, strengths, right = np.linalg.svd(wanted.T @ source)
    turn = np.diag([1.0, np.sign(np.linalg.det(left @ right))])
    linear = (strengths * np.diag(turn)).sum() / (source**2).sum() * left @ turn @ right
    return np.concatenate([linear, (wanted_mean - linear @ mean)[:, None]], 1)


def _kept(path: Path, names: Sequence[str]) -> Points | None:
    """What the file holds, if it is of just these pictures."""
    if not path.is_file():
        return None
    with np.load(path) as stored:
        if stored["names"].tolist() != list(names):
            return None
        return np.asarray(stored["points"], np.float32)


def _find_all(faces: FaceSet) -> Points:
    finder = LandmarkFinder()
    points = np.full((len(faces.faces), COUNT, 2), np.nan, np.float32)
    reals = np.flatnonzero(faces.labels == 0)
    for done, row in enumerate(reals):
        found = finder.find(np.array(faces.pixels[row]))
        points[row] = np.nan if found is None else found
        if done % _LOG_EVERY == 0:
            log.info("finding landmarks: %d of %d real faces", done, len(reals))
    log.info("landmarks of %d of %d real faces are sure", known(points).sum(), len(reals))
    return points


def _dlib() -> Any:
    """The module, which has no types."""
    try:
        import dlib
    except ImportError:
        raise TrainingError("landmarks need dlib: pip install dlib-bin face-recognition-models") from None
    return dlib


def _weights() -> Path:
    """The predictor's file, without importing its package, whose start-up needs an old setuptools."""
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise TrainingError("landmarks need their weights: pip install face-recognition-models")
    return Path(package.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"
