"""How well scores tell fakes from reals.

Labels are (N,) with 1 = fake; scores are any numbers that rise with fakeness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.training.errors import TrainingError

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]


def roc_auc(labels: Labels, scores: Scores) -> float:
    """Probability that a fake scores above a real, ties counting half (Mann & Whitney 1947)."""
    positives, negatives = _counts(labels)
    ranks = _mid_ranks(scores)
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def roc_curve(labels: Labels, scores: Scores) -> tuple[Scores, Scores]:
    """False and true positive rates, one point per distinct score, from (0, 0) to (1, 1)."""
    positives, negatives = _counts(labels)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order] == 1)
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.concatenate([[0], hits[last_of_tie]]) / positives
    false = np.concatenate([[0], (last_of_tie + 1 - hits[last_of_tie])]) / negatives
    return false, true


def equal_error_rate(labels: Labels, scores: Scores) -> float:
    """Where false alarms and misses are equally likely, interpolated along the ROC."""
    false, true = roc_curve(labels, scores)
    gap = false - (1 - true)
    after = int(np.argmax(gap >= 0))
    if after == 0 or gap[after] == gap[after - 1]:
        return float(false[after])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false[after - 1] + share * (false[after] - false[after - 1]))


def hit_rate_at(labels: Labels, scores: Scores, false_alarm_rate: float) -> float:
    """The largest true positive rate that costs no more than ``false_alarm_rate``."""
    false, true = roc_curve(labels, scores)
    return float(true[false <= false_alarm_rate].max())


def log_loss(labels: Labels, probabilities: Scores) -> float:
    """Mean negative log likelihood in nats."""
    clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return float(-np.mean(np.where(labels == 1, np.log(clipped), np.log1p(-clipped))))


def expected_calibration_error(
    labels: Labels, probabilities: Scores, bins: int = 15, *, balanced: bool = False
) -> float:
    """Mean distance of confidence and frequency over equal bins of the probability (Guo et al. 2017).

    ``balanced`` weighs items so that reals and fakes count alike: the prior that balanced calibration assumes.
    """
    weights = _class_weights(labels) if balanced else np.full(len(labels), 1 / len(labels))
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.bincount(index, weights * (probabilities - labels), minlength=bins)
    return float(np.abs(gaps).sum())


def _class_weights(labels: Labels) -> Scores:
    """Sum to 1, half of it on each class."""
    positives, negatives = _counts(labels)
    return np.where(labels == 1, 0.5 / positives, 0.5 / negatives)


def _counts(labels: Labels) -> tuple[int, int]:
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise TrainingError("both reals and fakes are needed to measure: check the split's name")
    return positives, negatives


def _mid_ranks(scores: Scores) -> Scores:
    """1-based ranks; ties share their mean."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)
