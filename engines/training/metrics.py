"""How well scores tell fakes from reals.

Labels are (N,) with 1 = fake; scores are any numbers that rise with fakeness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.ranking import Scores, area_under_roc
from engines.training.errors import TrainingError

Labels = NDArray[np.int64]


def roc_auc(labels: Labels, scores: Scores) -> float:
    """Probability that a fake scores above a real, ties counting half (Mann & Whitney 1947)."""
    _counts(labels)
    return area_under_roc(labels, scores)


@dataclass(frozen=True, repr=False)
class Roc:
    """Operating points, one per distinct score from the strictest to the laxest, after one that calls nothing fake."""

    false: Scores
    """False positive rates, rising from 0 to 1."""
    true: Scores
    """True positive rates, rising from 0 to 1."""
    thresholds: Scores
    """A score of at least this is called fake; falling."""


def roc_of(labels: Labels, scores: Scores) -> Roc:
    """All operating points. Raises TrainingError unless there are reals and fakes."""
    positives, negatives = _counts(labels)
    ranked, hits, taken = _ranked(labels, scores)
    true, false = np.append(0, hits) / positives, np.append(0, taken - hits) / negatives
    return Roc(false, true, np.append(np.nextafter(ranked[0], np.inf), ranked))


def roc_curve(labels: Labels, scores: Scores) -> tuple[Scores, Scores]:
    """False and true positive rates, one point per distinct score, from (0, 0) to (1, 1)."""
    roc = roc_of(labels, scores)
    return roc.false, roc.true


def precision_recall(labels: Labels, scores: Scores) -> tuple[Scores, Scores]:
    """Precision and recall, one point per distinct score from the strictest to the laxest."""
    positives, _ = _counts(labels)
    _, hits, taken = _ranked(labels, scores)
    return hits / taken, hits / positives


def average_precision(labels: Labels, scores: Scores) -> float:
    """Mean precision over the steps of recall, without interpolation. Depends on how many fakes there are."""
    precision, recall = precision_recall(labels, scores)
    return float((np.diff(recall, prepend=0) * precision).sum())


def equal_error_rate(labels: Labels, scores: Scores) -> float:
    """Where false alarms and misses are equally likely, interpolated along the ROC."""
    false, true = roc_curve(labels, scores)
    gap = false - (1 - true)
    after = int(np.argmax(gap >= 0))
    if after == 0 or gap[after] == gap[after - 1]:
        return float(false[after])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false[after - 1] + share * (false[after] - false[after - 1]))


def equal_error_threshold(labels: Labels, scores: Scores) -> float:
    """The score at which false alarms and misses are closest to each other."""
    roc = roc_of(labels, scores)
    return float(roc.thresholds[np.argmin(np.abs(roc.false - (1 - roc.true)))])


def hit_rate_at(labels: Labels, scores: Scores, false_alarm_rate: float) -> float:
    """The largest true positive rate that costs no more than ``false_alarm_rate``."""
    false, true = roc_curve(labels, scores)
    return float(true[false <= false_alarm_rate].max())


def threshold_at(labels: Labels, scores: Scores, false_alarm_rate: float) -> float:
    """The lowest score that can be called fake at no more than ``false_alarm_rate``."""
    roc = roc_of(labels, scores)
    return float(roc.thresholds[roc.false <= false_alarm_rate].min())


@dataclass(frozen=True)
class Confusion:
    """Counts at one threshold; fake is the positive class."""

    true_real: int
    false_fake: int
    false_real: int
    true_fake: int

    @property
    def total(self) -> int:
        return self.true_real + self.false_fake + self.false_real + self.true_fake

    @property
    def accuracy(self) -> float:
        return (self.true_real + self.true_fake) / self.total

    @property
    def precision(self) -> float:
        """Of those called fake, how many are; 0 when none was called so."""
        return self.true_fake / max(self.true_fake + self.false_fake, 1)

    @property
    def recall(self) -> float:
        """Of the fakes, how many were called so: the true positive rate; 0 without fakes."""
        return self.true_fake / max(self.true_fake + self.false_real, 1)

    @property
    def false_alarm_rate(self) -> float:
        """Of the reals, how many were called fake; 0 without reals."""
        return self.false_fake / max(self.true_real + self.false_fake, 1)

    @property
    def f1(self) -> float:
        return 2 * self.true_fake / max(2 * self.true_fake + self.false_fake + self.false_real, 1)

    @property
    def majority_accuracy(self) -> float:
        """Of whoever always names the larger class."""
        fakes = self.true_fake + self.false_real
        return max(fakes, self.total - fakes) / self.total


def confusion(labels: Labels, scores: Scores, threshold: float) -> Confusion:
    """A score of at least ``threshold`` is called fake."""
    called = scores >= threshold
    cells = np.bincount(2 * (labels == 1) + called, minlength=4)
    return Confusion(*(int(cell) for cell in cells))


def brier_score(labels: Labels, probabilities: Scores, *, balanced: bool = False) -> float:
    """Mean squared distance of probability and outcome (Brier 1950); ``balanced`` as below."""
    return float((_weights(labels, balanced=balanced) * (probabilities - labels) ** 2).sum())


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
    weights = _weights(labels, balanced=balanced)
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.bincount(index, weights * (probabilities - labels), minlength=bins)
    return float(np.abs(gaps).sum())


def class_weights(labels: Labels) -> Scores:
    """(N,) that sum to 1, half of it on each class."""
    positives, negatives = _counts(labels)
    return np.where(labels == 1, 0.5 / positives, 0.5 / negatives)


def _weights(labels: Labels, *, balanced: bool) -> Scores:
    return class_weights(labels) if balanced else np.full(len(labels), 1 / len(labels))


def _counts(labels: Labels) -> tuple[int, int]:
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise TrainingError("both reals and fakes are needed to measure: check the split's name")
    return positives, negatives


def _ranked(labels: Labels, scores: Scores) -> tuple[Scores, Labels, Labels]:
    """Distinct scores falling, and how many fakes and how many items score at least each."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return scores[order][last_of_tie], np.cumsum(labels[order] == 1)[last_of_tie], last_of_tie + 1
