"""Turns: nobody is starved, weights are kept to, and what is taken is what was first in line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.scheduling.turns import Turns

Names = st.sampled_from("abcdef")


def test_without_a_limit_everything_is_taken() -> None:
    assert Turns[str]().take({"a": [1, 2], "b": [], "c": [3]}, {"a": 1, "b": 1, "c": 1}, None) == {
        "a": (1, 2),
        "b": (),
        "c": (3,),
    }


def test_a_crowded_camera_leaves_room_for_the_others() -> None:
    waiting = {"crowd": list(range(30)), "door": [1], "yard": [1, 2]}
    taken = Turns[str]().take(waiting, dict.fromkeys(waiting, 2), 8)
    assert {name: len(items) for name, items in taken.items()} == {"crowd": 5, "door": 1, "yard": 2}


def test_one_turn_a_step_goes_round() -> None:
    turns, served = Turns[str](), []
    for _ in range(6):
        taken = turns.take({name: [0] for name in "abc"}, dict.fromkeys("abc", 2), 1)
        served += [name for name, items in taken.items() if items]
    assert sorted(served[:3]) == sorted(served[3:]) == ["a", "b", "c"]


@pytest.mark.parametrize(("weights", "counts"), [((1, 1), (60, 60)), ((1, 2), (40, 80)), ((1, 4), (24, 96))])
def test_turns_go_by_weight(weights: tuple[int, int], counts: tuple[int, int]) -> None:
    turns, served = Turns[str](), {"a": 0, "b": 0}
    for _ in range(24):
        taken = turns.take({"a": range(100), "b": range(100)}, dict(zip("ab", weights, strict=True)), 5)
        served = {name: served[name] + len(items) for name, items in taken.items()}
    assert tuple(served.values()) == pytest.approx(counts, abs=1)


@settings(deadline=None)
@given(
    queues=st.dictionaries(Names, st.integers(0, 40), min_size=1),
    weight=st.fixed_dictionaries({name: st.integers(1, 4) for name in "abcdef"}),
    limit=st.integers(1, 30),
)
def test_a_step_is_full_and_takes_the_first_of_each(queues: dict[str, int], weight: dict[str, int], limit: int) -> None:
    taken = Turns[str]().take({name: range(count) for name, count in queues.items()}, weight, limit)
    assert sum(map(len, taken.values())) == min(limit, sum(queues.values()))
    assert all(items == tuple(range(len(items))) for items in taken.values())


@settings(deadline=None)
@given(
    crowds=st.lists(st.tuples(st.sampled_from((1, 2, 4)), st.integers(1, 40)), min_size=1, max_size=6),
    own=st.sampled_from((1, 2, 4)),
    limit=st.integers(1, 8),
)
def test_whoever_waits_is_served_within_its_share_of_turns(crowds: list[tuple[int, int]], own: int, limit: int) -> None:
    """A camera with one face waits W / w + W + n turns at most, however many faces the others hold."""
    turns: Turns[int] = Turns()
    weights = {index: weight for index, (weight, _) in enumerate(crowds, 1)} | {0: own}
    waiting = {index: range(count) for index, (_, count) in enumerate(crowds, 1)} | {0: range(1)}
    waits = [0]
    for _ in range(60):
        waits[-1] += 1
        if turns.take(waiting, weights, limit)[0]:
            waits.append(0)
    longest = sum(weights.values()) / own + sum(weights.values()) + len(weights)
    assert max((steps - 1) * limit for steps in waits) <= longest


@settings(deadline=None)
@given(weights=st.lists(st.sampled_from((1, 2, 4)), min_size=2, max_size=8), limit=st.integers(1, 7))
def test_cameras_with_one_thing_to_ask_for_are_served_by_weight_or_every_time(weights: list[int], limit: int) -> None:
    turns: Turns[int] = Turns()
    given_weights, served, steps = dict(enumerate(weights)), dict.fromkeys(range(len(weights)), 0), 200
    for _ in range(steps):
        taken = turns.take({index: [0] for index in given_weights}, given_weights, limit)
        served = {index: served[index] + len(items) for index, items in taken.items()}
    fair = {i: steps * limit * weight / sum(weights) for i, weight in given_weights.items()}
    assert all(served[i] >= min(fair[i], steps) * 0.8 - 2 for i in served)
    alike = [served[i] for i, weight in given_weights.items() if weight == weights[0]]
    assert max(alike) - min(alike) <= 2


def test_a_stream_that_asked_for_nothing_saves_no_turns() -> None:
    turns = Turns[str]()
    for _ in range(50):
        turns.take({"a": range(9), "idle": []}, {"a": 1, "idle": 4}, 1)
    taken = turns.take({"a": range(9), "idle": range(9)}, {"a": 1, "idle": 1}, 4)
    assert abs(len(taken["a"]) - len(taken["idle"])) <= 2
