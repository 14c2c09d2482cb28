"""The trivial floor: what can be told without looking at a face, by file size, sharpness, brightness and colour.

A logistic regression on ten such numbers, cross-validated so that no source is judged by a fit that saw it. A network
near this floor has learnt how a set was made, not what a fake is.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.postprocess import sigmoid

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

FEATURES = (
    "file size",
    "sharpness",
    "brightness",
    "contrast",
    "noise",
    "red",
    "green",
    "blue",
    "saturation",
    "edges",
)
_RIDGE = 1.0
_STEPS = 12


def picture_features(rgb: NDArray[np.uint8], file_bytes: int) -> Floats:
    """(10,) in the order of ``FEATURES``; sizes and energies as logarithms."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    red, green, blue = rgb.reshape(-1, 3).mean(0)
    fine = grey - cv2.medianBlur(grey, 3)
    edges = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
    saturation = float(rgb.max(2).astype(np.float32).mean() - rgb.min(2).astype(np.float32).mean())
    energies = [file_bytes, cv2.Laplacian(grey, cv2.CV_32F).var(), np.abs(fine).mean(), edges]
    size, sharpness, noise, edge = np.log(np.asarray(energies, np.float64) + 1e-3)
    return np.array([size, sharpness, grey.mean(), grey.std(), noise, red, green, blue, saturation, edge], np.float64)


def floor_scores(features: Floats, labels: Labels, sources: Sequence[str], *, folds: int = 5, seed: int = 0) -> Floats:
    """(N,) out-of-fold logits of a logistic regression on (N, K) features, their squares and products."""
    fold = _folds(sources, folds, seed)
    scores = np.zeros(len(labels))
    for number in range(folds):
        judged = fold == number
        scale = features[~judged].mean(0), features[~judged].std(0) + 1e-9
        terms = _terms((features - scale[0]) / scale[1])
        scores[judged] = terms[judged] @ _fit(terms[~judged], labels[~judged])
    return scores


def _folds(sources: Sequence[str], folds: int, seed: int) -> Labels:
    """(N,) the fold of each item's source."""
    names, of_item = np.unique(np.asarray(sources), return_inverse=True)
    return np.asarray((np.random.default_rng(seed).permutation(len(names)) % folds)[of_item], np.int64)


def _terms(standard: Floats) -> Floats:
    """A one, the features, and all their products; a far outlier counts as four deviations."""
    bounded = np.clip(standard, -4, 4)
    rows, columns = np.triu_indices(bounded.shape[1])
    return np.hstack([np.ones((len(bounded), 1)), bounded, bounded[:, rows] * bounded[:, columns]])


def _fit(terms: Floats, labels: Labels) -> Floats:
    """Ridge logistic regression by Newton's method (iteratively reweighted least squares)."""
    weights, penalty = np.zeros(terms.shape[1]), _RIDGE * np.eye(terms.shape[1])
    for _ in range(_STEPS):
        guess = sigmoid(terms @ weights)
        curvature = (terms * (guess * (1 - guess))[:, None]).T @ terms + penalty
        slope = terms.T @ (labels - guess) - _RIDGE * weights
        weights = weights + np.linalg.solve(curvature, slope)
    return np.asarray(weights, np.float64)
