"""What scores say: every number, and None for what they cannot say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.training.evaluate import (
    RANKINGS,
    by_manipulation,
    by_video,
    calibration_study,
    evaluate,
    numbers_of,
    transfer,
    with_unscored,
)
from engines.training.evaluation_json import evaluation_json, rounded
from engines.training.scored import Item, Scored
from tests.engines.training.scored_items import overlapping, scored_of


def test_without_reals_there_is_no_ranking_but_there_are_counts() -> None:
    found = evaluate(scored_of([1, 1, 1], [-1.0, 0.5, 2.0]), resamples=10)
    assert {found.numbers[name] for name in RANKINGS} == {None}
    assert found.numbers["accuracy"] == pytest.approx(2 / 3)
    assert (found.intervals, found.points, found.calibration) == ({}, (), None)


def test_a_model_that_knows_nothing_is_no_better_than_the_majority() -> None:
    numbers = numbers_of(scored_of([1, 1, 1, 0], [1.0, 1.0, 1.0, 1.0]))
    assert numbers["accuracy"] == numbers["majority_accuracy"] == 0.75
    assert numbers["balanced_accuracy"] == numbers["auc"] == 0.5


def test_refitting_mends_probabilities_on_sources_it_never_saw() -> None:
    scored = overlapping(4000, per_source=2)
    wrong = replace(scored, logits=5 * scored.logits + 3, probabilities=1 / (1 + np.exp(-5 * scored.logits - 3)))
    study = calibration_study(wrong)
    assert study is not None
    errors = {row.name: row.numbers["ece"] or 1.0 for row in study.rows}
    assert errors["refitted"] < 0.05 < errors["shipped"]


def test_halves_share_no_source() -> None:
    scored = overlapping(400, per_source=4)
    study = calibration_study(scored)
    assert study is not None
    assert study.fitted_items + len(study.labels) == 400
    assert study.fitted_items % 4 == 0


def test_raw_probabilities_are_told_only_when_they_differ_from_the_shipped_ones() -> None:
    scored = overlapping(400)
    same, other = calibration_study(scored), calibration_study(replace(scored, probabilities=scored.probabilities**2))
    assert same is not None
    assert other is not None
    assert [row.name for row in same.rows] == ["shipped", "refitted", "refitted_balanced"]
    assert [row.name for row in other.rows] == ["raw", "shipped", "refitted", "refitted_balanced"]


def test_a_threshold_travels_with_its_number_and_meets_another_set() -> None:
    home = scored_of([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0])
    abroad = scored_of([0, 0, 1, 1], [-1.0, 1.5, 0.5, 3.0])
    eer, strict = transfer(home, abroad)
    assert (eer.name, strict.name) == ("eer", "fpr_1")
    assert eer.at_home.accuracy == 1.0
    assert (eer.abroad.false_alarm_rate, eer.abroad.recall) == (0.5, 0.5)
    assert transfer(scored_of([1], [1.0]), abroad) == ()


def test_frames_of_a_video_count_as_one() -> None:
    items = (Item("a1", True, "s", "a"), Item("b1", False, "s", "b"), Item("a2", True, "s", "a"))
    found = by_video(Scored(items, np.array([1.0, -3.0, 2.0]), np.array([0.6, 0.1, 0.8])))
    assert [item.video for item in found.items] == ["a", "b"]
    np.testing.assert_allclose(found.logits, [1.5, -3.0])
    np.testing.assert_allclose(found.probabilities, [0.7, 0.1])


def test_each_manipulation_meets_all_reals() -> None:
    items = (
        Item("r1", False, "1", "r1"),
        Item("r2", False, "2", "r2"),
        Item("s", True, "1", "s", "swap"),
        Item("p", True, "2", "p", "puppet"),
    )
    rows = by_manipulation(Scored(items, np.array([0.0, 1.0, 2.0, 0.5]), np.full(4, 0.5)))
    assert [(row.name, row.fakes, row.numbers["auc"]) for row in rows] == [("puppet", 1, 0.5), ("swap", 1, 1.0)]


def test_an_unscored_clip_is_neither_right_nor_wrong() -> None:
    scored = scored_of([0, 1], [-1.0, 1.0])
    found = with_unscored(scored, [Item("x", True, "x", "x")])
    assert len(found.items) == len(found.logits) == 3
    assert found.probabilities[-1] == 0.5
    assert numbers_of(found)["auc"] == 1.0


def test_json_holds_no_number_that_json_cannot_write() -> None:
    assert rounded({"a": float("nan"), "b": [float("inf"), 0.1234567], "c": ("x", 3)}) == {
        "a": None,
        "b": [None, 0.12346],
        "c": ["x", 3],
    }


def test_json_has_every_number_with_its_interval() -> None:
    found = evaluation_json(evaluate(overlapping(200, per_source=2), resamples=20))
    assert (found["items"], found["real"], found["fake"], found["sources"]) == (200, 100, 100, 100)
    assert set(found["intervals"]) <= set(found)
    assert set(found["confusion"]) == {"half", "eer", "fpr_1"}
    assert found["calibration"]["refitted"]["temperature"] > 0
