"""Smoothing is free of the frame rate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.scoring.smoothing import logit_from_probability, probability_from_logit, smoothed

values = st.floats(-20, 20)
probabilities = st.floats(0, 1)


@given(before=values, value=values, seconds=st.floats(0.01, 20), parts=st.lists(st.floats(0.01, 1), min_size=1))
def test_smoothing_in_many_steps_is_smoothing_in_one(
    before: float, value: float, seconds: float, parts: list[float]
) -> None:
    stepwise = before
    for part in parts:
        stepwise = smoothed(stepwise, value, seconds * part / sum(parts), 1.5)
    assert stepwise == pytest.approx(smoothed(before, value, seconds, 1.5), abs=1e-9)


@given(before=values, value=values, seconds=st.floats(0, 1e9), constant=st.floats(0, 100))
def test_a_smoothed_value_lies_between_the_two(before: float, value: float, seconds: float, constant: float) -> None:
    low, high = sorted((before, value))
    assert low - 1e-9 <= smoothed(before, value, seconds, constant) <= high + 1e-9


def test_a_step_is_followed_to_63_percent_in_one_time_constant() -> None:
    assert smoothed(0.0, 1.0, 2.0, 2.0) == pytest.approx(1 - math.exp(-1))


def test_no_time_constant_means_no_smoothing() -> None:
    assert smoothed(0.0, 1.0, 0.0, 0.0) == 1.0


def test_time_that_runs_backwards_changes_nothing() -> None:
    assert smoothed(0.3, 1.0, -5.0, 1.0) == pytest.approx(0.3)


@given(probability=probabilities)
def test_a_probability_survives_the_way_to_a_logit_and_back(probability: float) -> None:
    assert probability_from_logit(logit_from_probability(probability)) == pytest.approx(probability, abs=2e-6)


@given(logit=st.floats(-1e300, 1e300))
def test_any_finite_logit_has_a_probability(logit: float) -> None:
    assert 0 <= probability_from_logit(logit) <= 1
