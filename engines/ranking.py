"""Ranks, and what is measured with them alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def mid_ranks(scores: Scores) -> Scores:
    """(N,) ranks from 1; ties share their mean."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


def rank_correlation(one: Scores, other: Scores) -> float | None:
    """Spearman's rho of two (N,) (Spearman 1904), ties included; None where one of them has a single value."""
    ranks = np.stack([mid_ranks(one), mid_ranks(other)])
    if not ranks.std(axis=1).all():
        return None
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def area_under_roc(labels: NDArray[np.int64], scores: Scores) -> float:
    """Probability that one of the ones scores above one of the zeros, ties counting half (Mann & Whitney 1947).

    Both kinds must be there.
    """
    positives = int((labels == 1).sum())
    above = np.sum(mid_ranks(scores)[labels == 1]) - positives * (positives + 1) / 2
    return float(above / (positives * (len(labels) - positives)))
