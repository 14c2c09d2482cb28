"""Bootstrap intervals by source (Efron 1979): real and fakes of one source are drawn, or left out, together.

A resample is a weight per item, and every metric a function of weights, so that hundreds of them are a few array
operations. ``weighted_numbers`` with weights of one gives what ``engines.training.metrics`` gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Interval = tuple[float, float]

THRESHOLD = 0.5
"""Probability at which the counted metrics (accuracy and its kin) call an item fake."""
ECE_BINS = 15
_CELLS = 1_000_000
"""Weights held at once: bounds memory, not the result."""


def intervals(
    labels: Labels, probabilities: Floats, sources: Sequence[str], *, resamples: int, seed: int = 0
) -> dict[str, Interval]:
    """The middle 95 % of each metric over ``resamples`` draws of the sources, by name."""
    drawn: dict[str, list[Floats]] = {}
    for weights in _resampled(sources, resamples, np.random.default_rng(seed)):
        for name, values in weighted_numbers(labels, probabilities, weights).items():
            drawn.setdefault(name, []).append(values)
    return {name: _middle(np.concatenate(values)) for name, values in drawn.items()}


def weighted_numbers(labels: Labels, probabilities: Floats, weights: Floats) -> dict[str, Floats]:
    """Each metric under each of (B, N) weights, as (B,); not a number where a class has no weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {**_rankings(labels, probabilities, weights), **_means(labels, probabilities, weights)}


def _resampled(sources: Sequence[str], resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """(rows, N) how often each item's source was drawn, some rows at a time."""
    names, of_item = np.unique(np.asarray(sources), return_inverse=True)
    step = max(1, _CELLS // max(len(of_item), 1))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        yield rng.multinomial(len(names), np.full(len(names), 1 / len(names)), rows)[:, of_item].astype(np.float64)


def _rankings(labels: Labels, scores: Floats, weights: Floats) -> dict[str, Floats]:
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    sorted_weights, is_fake = weights[:, order], labels[order] == 1
    hits = np.cumsum(sorted_weights * is_fake, axis=1)[:, last_of_tie]
    alarms = np.cumsum(sorted_weights * ~is_fake, axis=1)[:, last_of_tie]
    true, false = _from_zero(hits / hits[:, -1:]), _from_zero(alarms / alarms[:, -1:])
    precision = np.divide(hits, hits + alarms, out=np.zeros_like(hits), where=hits + alarms > 0)
    return {
        "auc": (np.diff(false) * (true[:, 1:] + true[:, :-1])).sum(1) / 2,
        "eer": _equal_errors(false, true),
        "ap": (np.diff(true) * precision).sum(1),
        "tpr_at_fpr_1": _hits_at(false, true, 0.01),
        "tpr_at_fpr_01": _hits_at(false, true, 0.001),
    }


def _means(labels: Labels, probabilities: Floats, weights: Floats) -> dict[str, Floats]:
    total = weights.sum(1)
    clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
    surprise = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    called, is_fake, gaps = probabilities >= THRESHOLD, labels == 1, _gaps(labels, probabilities)
    found, flagged, fakes = weights @ (called & is_fake), weights @ called, weights @ is_fake
    return {
        "log_loss": weights @ surprise / total,
        "brier": weights @ (probabilities - labels) ** 2 / total,
        "ece": np.abs(weights @ gaps).sum(1) / total,
        "ece_balanced": np.abs(_alike(weights, is_fake) @ gaps).sum(1),
        "accuracy": weights @ (called == is_fake) / total,
        "precision": np.where(flagged > 0, found / flagged, 0.0),
        "recall": found / fakes,
        "f1": 2 * found / (flagged + fakes),
    }


def _alike(weights: Floats, is_fake: NDArray[np.bool_]) -> Floats:
    """The weights, scaled so that each class has half of them."""
    fakes, reals = weights @ is_fake, weights @ ~is_fake
    return np.asarray(weights * np.where(is_fake, 0.5 / fakes[:, None], 0.5 / reals[:, None]), np.float64)


def _gaps(labels: Labels, probabilities: Floats) -> Floats:
    """(N, bins) probability minus outcome, in the column of the probability's bin."""
    gaps = np.zeros((len(labels), ECE_BINS))
    index = np.minimum((probabilities * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps[np.arange(len(labels)), index] = probabilities - labels
    return gaps


def _from_zero(rates: Floats) -> Floats:
    return np.pad(rates, ((0, 0), (1, 0)))


def _hits_at(false: Floats, true: Floats, rate: float) -> Floats:
    """True positive rate of the last point whose false one is no more than ``rate`` (both rise)."""
    last = np.maximum((false <= rate).sum(1) - 1, 0)
    return np.where(np.isnan(false[:, -1]), np.nan, true[np.arange(len(true)), last])


def _equal_errors(false: Floats, true: Floats) -> Floats:
    rows, gap = np.arange(len(false)), false - (1 - true)
    after = np.argmax(gap >= 0, axis=1)
    before = np.maximum(after - 1, 0)
    rise = gap[rows, after] - gap[rows, before]
    share = np.where(rise > 0, -gap[rows, before] / np.where(rise > 0, rise, 1), 1.0)
    return np.asarray(false[rows, before] + share * (false[rows, after] - false[rows, before]), np.float64)


def _middle(values: Floats) -> Interval:
    """2.5th and 97.5th percentile of the draws that had both classes."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
