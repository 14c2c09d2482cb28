"""Learning curves from the CSV file that a training run appends to."""

from __future__ import annotations

import csv
from pathlib import Path

from engines.training.errors import TrainingError
from engines.training.report.chart import Axis, Line, chart, ticks_of
from engines.training.report.curves import Charts

_PLACES = ("step", "epoch")
_NO_CURVE = {"unix_s", "pictures_per_s"}
"""Columns that tell of the machine, not of the weights."""


def learning_charts(path: Path) -> Charts:
    """One chart for each column of numbers, over ``step`` or ``epoch``. Raises TrainingError when there is none."""
    columns = _columns(path)
    place = next((name for name in _PLACES if name in columns), None)
    curves = [name for name in columns if name not in {*_PLACES, *_NO_CURVE}]
    if place is None or not curves:
        raise TrainingError(f"{path} is no training log: it needs a column step or epoch, and others beside it")
    return {
        f"learning-{name}": (f"Training: {name.replace('_', ' ')}", _curve(place, name, *_both(columns, place, name)))
        for name in curves
    }


def _columns(path: Path) -> dict[str, list[float | None]]:
    """Columns that hold numbers, None where a row has none: not every step is validated."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read the training log {path} ({error}): give the run's CSV file") from None
    names = list(rows[0]) if rows else []
    columns = {name: [row[name] for row in rows] for name in names}
    return {
        name: [float(text) if text else None for text in texts]
        for name, texts in columns.items()
        if any(texts) and all(_is_number(text) for text in texts if text)
    }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _both(columns: dict[str, list[float | None]], place: str, name: str) -> tuple[list[float], list[float]]:
    """Where and what, of the rows that hold both."""
    pairs = zip(columns[place], columns[name], strict=True)
    xs, ys = zip(*((x, y) for x, y in pairs if x is not None and y is not None), strict=True)
    return list(xs), list(ys)


def _curve(place: str, name: str, xs: list[float], ys: list[float]) -> str:
    low, high = min(ys), max(ys)
    pad = (high - low) * 0.06 or 0.01
    across = Axis(place, min(xs), max(max(xs), min(xs) + 1), ticks_of(min(xs), max(xs)))
    up = Axis(name.replace("_", " "), low - pad, high + pad, ticks_of(low - pad, high + pad))
    return chart(across, up, [Line(xs, ys, "first")], f"{name} over {place}")
