"""An evaluation as plain values for ``--json``: docs/evaluating.md names every key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engines.training.bootstrap import THRESHOLD
from engines.training.evaluate import CalibrationRow, Evaluation, ManipulationRow, OperatingPoint
from engines.training.metrics import Confusion
from engines.training.robustness import Step
from engines.training.scored import Scored

_DIGITS = 5


def counts_json(scored: Scored) -> dict[str, Any]:
    """Keys: items, real, fake, sources, videos."""
    fakes = int(scored.labels.sum())
    return {
        "items": len(scored.items),
        "real": len(scored.items) - fakes,
        "fake": fakes,
        "sources": len(set(scored.sources)),
        "videos": len({item.video for item in scored.items}),
    }


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """Counts and numbers flat, then intervals, confusion, calibration and manipulations."""
    return {
        **counts_json(evaluation.scored),
        **rounded(evaluation.numbers),
        "intervals": rounded(evaluation.intervals),
        "confusion": _confusions_json(evaluation),
        "calibration": _calibration_json(evaluation),
        "manipulations": [_manipulation_json(row) for row in evaluation.manipulations],
    }


def confusion_json(cells: Confusion) -> dict[str, int]:
    return {"tn": cells.true_real, "fp": cells.false_fake, "fn": cells.false_real, "tp": cells.true_fake}


def _confusions_json(evaluation: Evaluation) -> dict[str, Any]:
    own = {point.name: (point.threshold, point.at_home) for point in evaluation.points}
    found = {"half": (THRESHOLD, evaluation.confusion), **own}
    return {name: {"threshold": rounded(at), **confusion_json(cells)} for name, (at, cells) in found.items()}


def transfer_json(points: Sequence[OperatingPoint]) -> dict[str, Any]:
    """By the threshold's name: what it does where it was found and on the other set."""
    return {
        point.name: {"threshold": rounded(point.threshold), "home": _rates(point.at_home), "here": _rates(point.abroad)}
        for point in points
    }


def robustness_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [
        {
            "degradation": step.degradation,
            "level": step.level,
            "auc": rounded(step.auc),
            "interval": rounded(step.interval),
        }
        for step in steps
    ]


def rounded(value: Any) -> Any:
    """Numbers for people, all the way down; what is no number is null, as JSON demands."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    if isinstance(value, float):
        return round(value, _DIGITS) if math.isfinite(value) else None
    return value


def _rates(cells: Confusion) -> dict[str, Any]:
    rates = {"accuracy": cells.accuracy, "fpr": cells.false_alarm_rate, "tpr": cells.recall}
    return {**rounded(rates), **confusion_json(cells)}


def _manipulation_json(row: ManipulationRow) -> dict[str, Any]:
    return {"name": row.name, "fakes": row.fakes, **rounded(row.numbers)}


def _calibration_json(evaluation: Evaluation) -> dict[str, Any] | None:
    study = evaluation.calibration
    if study is None:
        return None
    rows = {row.name: _calibration_row_json(row) for row in study.rows}
    return {"fitted_items": study.fitted_items, "judged_items": len(study.labels), **rows}


def _calibration_row_json(row: CalibrationRow) -> dict[str, Any]:
    fitted = {} if row.calibration is None else row.calibration.model_dump()
    return {**rounded(row.numbers), **rounded(fitted)}
