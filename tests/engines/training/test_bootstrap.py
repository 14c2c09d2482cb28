"""Intervals by source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.training import bootstrap
from engines.training.bootstrap import intervals, weighted_numbers
from engines.training.evaluate import numbers_of
from engines.training.metrics import average_precision, equal_error_rate, roc_auc
from tests.engines.training.scored_items import overlapping, scored_of

SAMPLES = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=3, max_size=40)


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_weights_of_one_give_the_plain_metrics(samples: list[tuple[int, int]]) -> None:
    labels, logits = zip(*[*samples, (0, 0), (1, 0)], strict=True)
    scored = scored_of(labels, logits)
    found = weighted_numbers(scored.labels, scored.probabilities, np.ones((2, len(labels))))
    plain = numbers_of(scored)
    for name, values in found.items():
        np.testing.assert_allclose(values, plain[name], atol=1e-9, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(SAMPLES, st.integers(0, 100))
def test_a_weight_is_as_many_copies_of_the_item(samples: list[tuple[int, int]], seed: int) -> None:
    labels, logits = zip(*[*samples, (0, 0), (1, 0)], strict=True)
    scored = scored_of(labels, logits)
    copies = np.append(np.random.default_rng(seed).integers(0, 4, len(samples)), [1, 1])
    found = weighted_numbers(scored.labels, scored.probabilities, copies[None].astype(float))
    repeated = scored.take(np.repeat(np.arange(len(labels)), copies))
    for name, measure in (("auc", roc_auc), ("eer", equal_error_rate), ("ap", average_precision)):
        assert found[name][0] == pytest.approx(measure(repeated.labels, repeated.probabilities), abs=1e-9), name


def test_an_interval_holds_the_number_and_narrows_with_more_items() -> None:
    widths = []
    for count in (100, 1600):
        scored = overlapping(count)
        low, high = intervals(scored.labels, scored.probabilities, scored.sources, resamples=300)["auc"]
        assert low < roc_auc(scored.labels, scored.probabilities) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_copies_of_a_source_are_no_new_evidence() -> None:
    once = overlapping(100)
    often = once.take(np.repeat(np.arange(100), 5))
    one, five = (
        intervals(some.labels, some.probabilities, some.sources, resamples=400)["auc"] for some in (once, often)
    )
    assert five[1] - five[0] == pytest.approx(one[1] - one[0], rel=0.05)


def test_the_same_seed_gives_the_same_intervals_however_much_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = overlapping(60)
    given_at_once = intervals(scored.labels, scored.probabilities, scored.sources, resamples=50)
    monkeypatch.setattr(bootstrap, "_CELLS", 60 * 7)
    in_parts = intervals(scored.labels, scored.probabilities, scored.sources, resamples=50)
    assert in_parts.keys() == given_at_once.keys()
    for name, interval in in_parts.items():
        assert interval == pytest.approx(given_at_once[name])


def test_resamples_without_a_class_are_left_out() -> None:
    scored = scored_of([0, 1, 1], [-1.0, 1.0, 2.0])
    low, high = intervals(scored.labels, scored.probabilities, scored.sources, resamples=60)["auc"]
    assert (low, high) == (1.0, 1.0)
