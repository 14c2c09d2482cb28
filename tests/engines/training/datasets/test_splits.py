"""Splits follow the source; whatever does not is counted, and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.training.datasets.items import LabelledItem
from engines.training.datasets.splits import leak_of, places, refuse_leaks, split_at_random, split_by_source
from engines.training.errors import TrainingError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def items_of(sources: int, fakes: int = 3) -> list[LabelledItem]:
    """A real and its fakes of each source, in no split."""
    return [
        LabelledItem(Path(f"{source}-{row}.jpg"), "image", int(row > 0), f"{source}", None, "x", f"{source}-{row}")
        for source in range(sources)
        for row in range(fakes + 1)
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 4), st.integers(0, 9))
def test_a_split_by_source_never_leaks(sources: int, fakes: int, seed: int) -> None:
    items = split_by_source(items_of(sources, fakes), SHARES, seed)
    assert leak_of(places(items)).items == 0
    assert {item.split for item in items} <= set(SHARES)


def test_shares_are_of_sources_and_the_seed_decides() -> None:
    items = items_of(100)
    split = split_by_source(items, SHARES, 0)
    assert len({item.source for item in split if item.split == "train"}) == 80
    assert split == split_by_source(items, SHARES, 0)
    assert split != split_by_source(items, SHARES, 1)


def test_a_split_does_not_depend_on_the_order_of_the_items() -> None:
    items = items_of(20)
    one, other = (split_by_source(rows, SHARES, 0) for rows in (items, items[::-1]))
    assert set(one) == set(other)


def test_a_random_split_of_a_real_and_four_fakes_leaks_nearly_all_that_it_measures() -> None:
    items, leak = split_at_random(items_of(400, fakes=4), {"train": 0.8, "test": 0.2}, 0)
    assert leak == leak_of(places(items))
    assert leak.held_out == 400
    assert leak.share > 0.97


def test_a_leak_is_counted_in_items_sources_and_what_is_measured() -> None:
    split = [("a", "train"), ("a", "test"), ("a", "test"), ("b", "val"), ("b", "test"), ("c", "train"), ("d", None)]
    leak = leak_of(split)
    assert (leak.items, leak.sources, leak.measured, leak.held_out) == (5, 2, 2, 4)
    assert str(leak) == "5 pictures leak: 2 sources lie in two splits"


def test_a_leak_is_refused_unless_forced_and_then_told() -> None:
    split = [("a", "train"), ("a", "test")]
    with pytest.raises(TrainingError, match=r"2 pictures leak: 1 sources .* --force-leaky-split"):
        refuse_leaks(split)
    assert refuse_leaks(split, force=True).items == 2
    assert refuse_leaks(split[:1]).items == 0


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.2, "test": -0.2}])
def test_shares_that_make_no_whole_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="do not make 1"):
        split_by_source(items_of(3), shares, 0)
