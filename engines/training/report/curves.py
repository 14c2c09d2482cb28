"""The charts of an evaluation, each a function of its scores."""

from __future__ import annotations

import numpy as np

from engines.training.bootstrap import ECE_BINS
from engines.training.evaluate import CalibrationRow, CalibrationStudy, Evaluation
from engines.training.metrics import class_weights, precision_recall, roc_of
from engines.training.report.chart import Axis, Band, Bars, Line, Mark, chart, ticks_of
from engines.training.robustness import DEGRADATIONS, Step
from engines.training.scored import Floats, Scored

_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_BINS = 40
_WAYS = {"raw": "raw logits", "shipped": "as the model ships", "refitted": "refitted on the other half"}

Charts = dict[str, tuple[str, str]]
"""File stem -> (caption, svg)."""


def evaluation_charts(evaluation: Evaluation) -> Charts:
    """Scores, ROC twice, precision and recall: those that the set's classes allow."""
    scored = evaluation.scored
    charts = {"scores": ("Scores of reals and fakes", _scores(scored))}
    if evaluation.numbers["auc"] is not None:
        charts |= {
            "roc": ("ROC: fakes found over false alarms", _roc(scored)),
            "roc-log": ("The same at few false alarms", _roc_log(scored)),
            "precision-recall": ("Precision over recall", _precision_recall(scored)),
        }
    return charts


def reliability_charts(study: CalibrationStudy | None) -> Charts:
    """How often fake probabilities came true, before and after refitting."""
    if study is None:
        return {}
    rows = [row for row in study.rows if row.name in _WAYS]
    return {f"reliability-{row.name}": (_WAYS[row.name].capitalize(), _reliability(study, row)) for row in rows}


def robustness_charts(steps: list[Step]) -> Charts:
    """One chart a degradation, from the clean pictures to the harshest level; all on one scale of AUC."""
    clean = steps[0]
    low = min(0.5, *(step.interval[0] for step in steps))
    charts = {}
    for one in DEGRADATIONS:
        found = [clean, *(step for step in steps if step.degradation == one.name)]
        if len(found) > 1:
            stem = f"robustness-{one.name.lower().replace('.', '')}"
            charts[stem] = (f"{one.name} ({one.unit})", _robustness(found, one.unit, low))
    return charts


def _scores(scored: Scored) -> str:
    edges = np.linspace(0, 1, _BINS + 1)
    marks, tallest = [], 0.0
    for name, colour, label in (("real", "real", 0), ("fake", "fake", 1)):
        chosen = scored.probabilities[scored.labels == label]
        shares = np.histogram(chosen, edges)[0] / max(len(chosen), 1)
        tallest = max(tallest, float(shares.max()))
        marks.append(Bars(edges.tolist(), shares.tolist(), colour, f"{name} ({len(chosen):,})"))
    top = max(tallest * 1.05, 1e-6)
    ticks = ticks_of(0, top, 4)
    share = Axis("share of the class", 0, top, ticks, labels=tuple(f"{tick:.0%}" for tick in ticks))
    return chart(Axis("fake probability", 0, 1, _FIFTHS), share, marks, "Histogram of fake probabilities")


def _roc(scored: Scored) -> str:
    roc = roc_of(scored.labels, scored.logits)
    marks: list[Mark] = [Line((0, 1), (0, 1), "guide"), Line(roc.false.tolist(), roc.true.tolist(), "first")]
    return chart(Axis("false alarms", 0, 1, _FIFTHS), Axis("fakes found", 0, 1, _FIFTHS), marks, "ROC curve")


def _roc_log(scored: Scored) -> str:
    roc = roc_of(scored.labels, scored.logits)
    across = Axis("false alarms", 1e-3, 1, (1e-3, 1e-2, 1e-1, 1), is_log=True, labels=("0.1 %", "1 %", "10 %", "100 %"))
    kept = np.flatnonzero(roc.false >= across.low)
    start = max(int(kept[0]) - 1, 0)
    chance = np.geomspace(across.low, 1, 60).tolist()
    steps = Line(roc.false[start:].tolist(), roc.true[start:].tolist(), "first")
    guide = Line(chance, chance, "guide")
    return chart(across, Axis("fakes found", 0, 1, _FIFTHS), [guide, steps], "ROC curve at few false alarms")


def _precision_recall(scored: Scored) -> str:
    precision, recall = precision_recall(scored.labels, scored.logits)
    share = float(scored.labels.mean())
    marks: list[Mark] = [
        Line((0, 1), (share, share), "guide", "always “fake”"),
        Line(recall.tolist(), precision.tolist(), "first", "model"),
    ]
    across, up = Axis("recall: fakes found", 0, 1, _FIFTHS), Axis("precision", 0, 1, _FIFTHS)
    return chart(across, up, marks, "Precision and recall")


def _reliability(study: CalibrationStudy, row: CalibrationRow) -> str:
    shares = np.histogram(row.probabilities, ECE_BINS, (0, 1))[0] / len(row.probabilities)
    marks: list[Mark] = [
        Bars(np.linspace(0, 1, ECE_BINS + 1).tolist(), shares.tolist(), "real", "items"),
        Line((0, 1), (0, 1), "guide", "honest"),
        _came_true(study, row, np.ones(len(study.labels)), "fake", "came true"),
        _came_true(study, row, class_weights(study.labels), "second", "classes alike"),
    ]
    across, up = Axis("fake probability", 0, 1, _FIFTHS), Axis("share of fakes", 0, 1, _FIFTHS)
    return chart(across, up, marks, "Reliability diagram")


def _came_true(study: CalibrationStudy, row: CalibrationRow, weights: Floats, colour: str, name: str) -> Line:
    """Mean probability and share of fakes in each bin that has items."""
    index = np.minimum((row.probabilities * ECE_BINS).astype(int), ECE_BINS - 1)
    mass = np.bincount(index, weights, ECE_BINS)
    said, came = (
        np.bincount(index, weights * values, ECE_BINS)[mass > 0] / mass[mass > 0]
        for values in (row.probabilities, study.labels)
    )
    return Line(said.tolist(), came.tolist(), colour, name, dots=True)


def _robustness(found: list[Step], unit: str, low: float) -> str:
    places = list(range(len(found)))
    names = tuple("as is" if step.level is None else f"{step.level:g}" for step in found)
    across = Axis(unit, -0.3, len(found) - 0.7, tuple(places), labels=names)
    up = Axis("AUC", low, 1, ticks_of(low, 1, 5))
    lows, highs = zip(*(step.interval for step in found), strict=True)
    marks: list[Mark] = [
        Line((-0.3, len(found) - 0.7), (0.5, 0.5), "guide"),
        Band(places, lows, highs),
        Line(places, [step.auc for step in found], "first", dots=True),
    ]
    return chart(across, up, marks, f"AUC over {unit}")
