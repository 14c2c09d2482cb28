"""Everything that scores of labelled items say, by name: the numbers behind ``unmask evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from engines.postprocess import calibrated_probability, sigmoid
from engines.spec import Calibration
from engines.training.bootstrap import THRESHOLD, Interval, intervals
from engines.training.calibrate import fit_calibration
from engines.training.metrics import (
    Confusion,
    average_precision,
    brier_score,
    confusion,
    equal_error_rate,
    equal_error_threshold,
    expected_calibration_error,
    hit_rate_at,
    log_loss,
    roc_auc,
    threshold_at,
)
from engines.training.scored import Floats, Item, Labels, Scored

Numbers = dict[str, float | None]
"""By name; None is what cannot be told, such as a ranking without reals."""
RANKINGS = ("auc", "eer", "ap", "tpr_at_fpr_1", "tpr_at_fpr_01")
_HALVES_SEED = 3


@dataclass(frozen=True)
class ManipulationRow:
    """One way of making fakes, against all reals."""

    name: str
    fakes: int
    numbers: Numbers


@dataclass(frozen=True, repr=False)
class CalibrationRow:
    """Probabilities of the judged half under one calibration."""

    name: str
    """``raw``, ``shipped``, ``refitted`` or ``refitted_balanced``."""
    probabilities: Floats
    numbers: Numbers
    calibration: Calibration | None
    """What was fitted on the other half."""


@dataclass(frozen=True, repr=False)
class CalibrationStudy:
    """Calibrations side by side: fitted on one half of the sources, judged on the other."""

    labels: Labels
    """Of the judged half."""
    fitted_items: int
    rows: tuple[CalibrationRow, ...]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold that one set gave, and what it does."""

    name: str
    """``eer`` or ``fpr_1``."""
    threshold: float
    at_home: Confusion
    abroad: Confusion


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What one set says of one model."""

    scored: Scored
    numbers: Numbers
    intervals: dict[str, Interval]
    """95 %, by resampling sources."""
    confusion: Confusion
    """At the probability 0.5."""
    points: tuple[OperatingPoint, ...]
    """The set's own thresholds, used on itself."""
    calibration: CalibrationStudy | None
    """None when a half of the sources lacks a class."""
    manipulations: tuple[ManipulationRow, ...]


def evaluate(scored: Scored, *, resamples: int = 500) -> Evaluation:
    """All numbers; ``resamples`` 0 leaves the intervals out."""
    labels = scored.labels
    found = intervals(labels, scored.probabilities, scored.sources, resamples=resamples) if resamples else {}
    return Evaluation(
        scored,
        numbers_of(scored),
        found if _has_both(labels) else {},
        confusion(labels, scored.probabilities, THRESHOLD),
        transfer(scored, scored),
        calibration_study(scored),
        by_manipulation(scored),
    )


def numbers_of(scored: Scored) -> Numbers:
    """Rankings by the logits, the others by the probabilities; counts at the probability 0.5."""
    labels, probabilities = scored.labels, scored.probabilities
    cells = confusion(labels, probabilities, THRESHOLD)
    return {
        **rankings(labels, scored.logits),
        "eer_threshold": equal_error_threshold(labels, probabilities) if _has_both(labels) else None,
        "prevalence": float(labels.mean()),
        **honesty(labels, probabilities),
        "threshold": THRESHOLD,
        "accuracy": cells.accuracy,
        "precision": cells.precision,
        "recall": cells.recall,
        "f1": cells.f1,
        "balanced_accuracy": (cells.recall + 1 - cells.false_alarm_rate) / 2 if _has_both(labels) else None,
        "majority_accuracy": cells.majority_accuracy,
    }


def rankings(labels: Labels, scores: Floats) -> Numbers:
    """What depends on the order of the scores alone; None without both classes."""
    if not _has_both(labels):
        return dict.fromkeys(RANKINGS)
    values = (
        roc_auc(labels, scores),
        equal_error_rate(labels, scores),
        average_precision(labels, scores),
        hit_rate_at(labels, scores, 0.01),
        hit_rate_at(labels, scores, 0.001),
    )
    return dict(zip(RANKINGS, values, strict=True))


def honesty(labels: Labels, probabilities: Floats) -> Numbers:
    """How well probabilities come true: as the set is, and with both classes weighed alike."""
    both = _has_both(labels)
    return {
        "log_loss": log_loss(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
        "brier": brier_score(labels, probabilities),
        "ece_balanced": expected_calibration_error(labels, probabilities, balanced=True) if both else None,
        "brier_balanced": brier_score(labels, probabilities, balanced=True) if both else None,
    }


def by_video(scored: Scored) -> Scored:
    """One item a video: the mean of its logits and of its probabilities."""
    order = sorted(range(len(scored.items)), key=lambda row: scored.items[row].video)
    groups = [np.array(list(rows)) for _, rows in groupby(order, key=lambda row: scored.items[row].video)]
    items = tuple(scored.items[rows[0]] for rows in groups)
    logits, probabilities = (
        np.array([values[rows].mean() for rows in groups]) for values in (scored.logits, scored.probabilities)
    )
    return Scored(items, logits, probabilities)


def by_manipulation(scored: Scored) -> tuple[ManipulationRow, ...]:
    """Each manipulation that the set names, against all reals."""
    labels = scored.labels
    how = np.array([item.manipulation for item in scored.items])
    names = sorted(set(how[labels == 1]) - {""}) if _has_both(labels) else []
    rows = {name: (labels == 0) | (how == name) for name in names}
    return tuple(
        ManipulationRow(name, int((how == name).sum()), rankings(labels[kept], scored.logits[kept]))
        for name, kept in rows.items()
    )


def calibration_study(scored: Scored) -> CalibrationStudy | None:
    """Before and after Platt scaling, on the half of the sources that it was not fitted on."""
    fitting = half_of(scored.sources)
    fit, judged = scored.take(fitting), scored.take(~fitting)
    if not len(judged.items) or not (_has_both(fit.labels) and _has_both(judged.labels)):
        return None
    as_found, balanced = (fit_calibration(fit.logits, fit.labels, balanced=how) for how in (False, True))
    given: list[tuple[str, Floats, Calibration | None]] = [
        ("raw", sigmoid(judged.logits), None),
        ("shipped", judged.probabilities, None),
        ("refitted", calibrated_probability(judged.logits, as_found), as_found),
        ("refitted_balanced", calibrated_probability(judged.logits, balanced), balanced),
    ]
    if np.allclose(given[0][1], given[1][1]):
        del given[0]
    rows = tuple(CalibrationRow(name, values, honesty(judged.labels, values), how) for name, values, how in given)
    return CalibrationStudy(judged.labels, len(fit.items), rows)


def transfer(home: Scored, abroad: Scored) -> tuple[OperatingPoint, ...]:
    """Thresholds on the probability that ``home`` gives, used on ``abroad``; none without both classes at home."""
    if not _has_both(home.labels):
        return ()
    thresholds = {
        "eer": equal_error_threshold(home.labels, home.probabilities),
        "fpr_1": threshold_at(home.labels, home.probabilities, 0.01),
    }
    return tuple(OperatingPoint(name, at, _cells(home, at), _cells(abroad, at)) for name, at in thresholds.items())


def with_unscored(scored: Scored, unscored: Sequence[Item]) -> Scored:
    """The same with a probability of one half for each item that nobody could score."""
    none = np.zeros(len(unscored))
    return Scored(
        (*scored.items, *unscored),
        np.append(scored.logits, none),
        np.append(scored.probabilities, none + 0.5),
    )


def _cells(scored: Scored, threshold: float) -> Confusion:
    return confusion(scored.labels, scored.probabilities, threshold)


def half_of(sources: Sequence[str]) -> NDArray[np.bool_]:
    """(N,) True for the items of half of the sources, drawn at random, the same each time."""
    names, of_item = np.unique(np.asarray(sources), return_inverse=True)
    order = np.random.default_rng(_HALVES_SEED).permutation(len(names))
    return np.asarray((order < len(names) // 2)[of_item], np.bool_)


def _has_both(labels: Labels) -> bool:
    return 0 < int((labels == 1).sum()) < len(labels)
