"""Metrics agree with scikit-learn and with their definitions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.training.errors import TrainingError
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
    precision_recall,
    roc_auc,
    roc_curve,
    roc_of,
    threshold_at,
)

sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: pip install -e '.[train]'")
PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "metrics"
SAMPLES = st.lists(st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=4, max_size=60)


def split(samples: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Both classes are made sure of; few distinct scores make ties common."""
    labels, scores = zip(*[*samples, (0, 0), (1, 0)], strict=True)
    return np.array(labels, np.int64), np.array(scores, np.float64)


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_auc_is_scikit_learns_with_ties_too(samples: list[tuple[int, int]]) -> None:
    labels, scores = split(samples)
    assert roc_auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores))


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_the_roc_is_scikit_learns(samples: list[tuple[int, int]]) -> None:
    labels, scores = split(samples)
    false, true = roc_curve(labels, scores)
    expected_false, expected_true, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(false, expected_false)
    np.testing.assert_allclose(true, expected_true)


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_the_equal_error_rate_lies_on_the_roc(samples: list[tuple[int, int]]) -> None:
    labels, scores = split(samples)
    false, true = roc_curve(labels, scores)
    rate = equal_error_rate(labels, scores)
    assert np.interp(rate, false, 1 - true) == pytest.approx(rate, abs=1e-9) or rate in false


def test_log_loss_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 200), rng.random(200)
    assert log_loss(labels, probabilities) == pytest.approx(sk.log_loss(labels, probabilities))


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_average_precision_and_its_curve_are_scikit_learns(samples: list[tuple[int, int]]) -> None:
    labels, scores = split(samples)
    assert average_precision(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores))
    expected_precision, expected_recall, _ = sk.precision_recall_curve(labels, scores)
    precision, recall = precision_recall(labels, scores)
    np.testing.assert_allclose(precision, expected_precision[:-1][::-1])
    np.testing.assert_allclose(recall, expected_recall[:-1][::-1])


@settings(max_examples=60, deadline=None)
@given(SAMPLES, st.integers(-6, 6))
def test_counts_at_a_threshold_are_scikit_learns(samples: list[tuple[int, int]], threshold: int) -> None:
    labels, scores = split(samples)
    cells, called = confusion(labels, scores, threshold), scores >= threshold
    expected = sk.confusion_matrix(labels, called, labels=[0, 1]).ravel()
    assert (cells.true_real, cells.false_fake, cells.false_real, cells.true_fake) == tuple(expected)
    assert cells.accuracy == pytest.approx(sk.accuracy_score(labels, called))
    assert cells.precision == pytest.approx(sk.precision_score(labels, called, zero_division=0))
    assert cells.recall == pytest.approx(sk.recall_score(labels, called))
    assert cells.f1 == pytest.approx(sk.f1_score(labels, called, zero_division=0))
    assert cells.majority_accuracy == pytest.approx(max(labels.mean(), 1 - labels.mean()))


def test_brier_is_scikit_learns_and_balanced_counts_classes_alike() -> None:
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 200), rng.random(200)
    assert brier_score(labels, probabilities) == pytest.approx(sk.brier_score_loss(labels, probabilities))
    skewed = np.concatenate([np.flatnonzero(labels == 0), np.repeat(np.flatnonzero(labels == 1), 5)])
    values = [brier_score(labels[rows], probabilities[rows], balanced=True) for rows in (np.arange(200), skewed)]
    assert values[0] == pytest.approx(values[1])


@settings(max_examples=60, deadline=None)
@given(SAMPLES, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_a_threshold_does_what_its_rate_promised(samples: list[tuple[int, int]], rate: float) -> None:
    labels, scores = split(samples)
    cells = confusion(labels, scores, threshold_at(labels, scores, rate))
    assert cells.false_alarm_rate <= rate
    assert cells.recall == pytest.approx(hit_rate_at(labels, scores, rate))


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_no_threshold_brings_both_errors_closer_than_the_equal_errors(samples: list[tuple[int, int]]) -> None:
    labels, scores = split(samples)

    def gap(cells: Confusion) -> float:
        return abs(cells.false_alarm_rate - (1 - cells.recall))

    found = gap(confusion(labels, scores, equal_error_threshold(labels, scores)))
    assert found == pytest.approx(min(gap(confusion(labels, scores, at)) for at in roc_of(labels, scores).thresholds))


def test_certain_and_wrong_costs_much_but_stays_finite() -> None:
    assert 20 < log_loss(np.array([1]), np.array([0.0])) < 40


def test_perfect_reversed_and_blind_scores() -> None:
    labels = np.array([0, 0, 1, 1])
    assert roc_auc(labels, np.array([0.1, 0.2, 0.8, 0.9])) == 1.0
    assert roc_auc(labels, np.array([0.9, 0.8, 0.2, 0.1])) == 0.0
    assert roc_auc(labels, np.zeros(4)) == 0.5
    assert equal_error_rate(labels, np.array([0.1, 0.2, 0.8, 0.9])) == 0.0
    assert equal_error_rate(labels, np.zeros(4)) == pytest.approx(0.5)


def test_hits_are_counted_at_no_more_than_the_allowed_false_alarms() -> None:
    labels = np.array([0] * 100 + [1] * 4)
    scores = np.concatenate([np.arange(100), [99.5, 98.5, 50.5, 0.5]]).astype(float)
    assert hit_rate_at(labels, scores, 0.0) == 0.25
    assert hit_rate_at(labels, scores, 0.01) == 0.5
    assert hit_rate_at(labels, scores, 1.0) == 1.0


def test_a_forecast_that_comes_true_as_often_as_it_says_is_calibrated() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.random(20_000)
    labels = (rng.random(20_000) < probabilities).astype(np.int64)
    assert expected_calibration_error(labels, probabilities) < 0.02
    assert expected_calibration_error(labels, np.full(20_000, 0.99)) > 0.4


def test_balanced_calibration_does_not_see_how_many_fakes_there_are() -> None:
    probabilities = np.array([0.2] * 10 + [0.8] * 10)
    labels = np.array([0] * 8 + [1] * 2 + [0] * 2 + [1] * 8)
    assert expected_calibration_error(labels, probabilities, balanced=True) == pytest.approx(0.0, abs=1e-12)
    tripled = np.concatenate([np.flatnonzero(labels == 0), np.repeat(np.flatnonzero(labels == 1), 3)])
    prior_shifted = labels[tripled], probabilities[tripled]
    assert expected_calibration_error(*prior_shifted, balanced=True) == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error(*prior_shifted) > 0.1


def test_one_class_alone_cannot_be_measured() -> None:
    with pytest.raises(TrainingError, match="both reals and fakes"):
        roc_auc(np.ones(3, np.int64), np.arange(3.0))


@pytest.mark.parametrize(("name", "auc"), [("dfdc", 0.999), ("celeb-df", 0.981), ("ffpp", 0.996)])
def test_published_scores_give_their_published_auc(name: str, auc: float) -> None:
    file = PUBLISHED / f"genconvit_{name}.json"
    if not file.is_file():
        pytest.skip(f"the shared metric fixtures are not at {PUBLISHED}")
    videos = json.loads(file.read_text())["video"]
    labels = np.array([label == "FAKE" for label in videos["correct_label"]], np.int64)
    scores = np.array(videos["pred"], np.float64)
    assert roc_auc(labels, scores) == pytest.approx(auc, abs=2e-3)
    assert roc_auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores))
