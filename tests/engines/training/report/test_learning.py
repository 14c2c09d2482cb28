"""Learning curves from a training run's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.training.errors import TrainingError
from engines.training.report.learning import learning_charts


def test_each_column_of_numbers_becomes_a_curve(tmp_path: Path) -> None:
    log = tmp_path / "fit.csv"
    log.write_text("unix_s,step,loss,learning_rate,note,pictures_per_s\n1,25,0.7,1e-4,a,40\n2,50,0.5,2e-4,b,41\n")
    charts = learning_charts(log)
    assert list(charts) == ["learning-loss", "learning-learning_rate"]
    assert "polyline" in charts["learning-loss"][1]


@pytest.mark.parametrize("text", [None, "", "a,b\n1,2\n", "step\n1\n"])
def test_what_is_no_log_is_said(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "fit.csv").write_text(text)
    with pytest.raises(TrainingError, match="training log"):
        learning_charts(tmp_path / "fit.csv")


def test_what_only_some_rows_hold_is_drawn_from_those(tmp_path: Path) -> None:
    log = tmp_path / "fit.csv"
    log.write_text("step,loss,val_auc,empty\n1,0.7,,\n2,0.6,0.8,\n3,0.5,,\n4,0.4,0.9,\n")
    charts = learning_charts(log)
    assert list(charts) == ["learning-loss", "learning-val_auc"]
    whole, some = (charts[f"learning-{name}"][1].count(",") for name in ("loss", "val_auc"))
    assert some < whole
