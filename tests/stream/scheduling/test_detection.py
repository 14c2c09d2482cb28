"""Looks for faces: on a grid of their own, spread over the period, and never fewer than one in a slot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.scheduling.detection import SLOW, is_steady, longest_rest_ns, next_look_ns, phase_of, thinned_period_ns
from stream.types import FaceBox, TrackedFace, TrackId

MS = 1_000_000


@pytest.mark.parametrize(("index", "phase"), [(0, 0), (1, 0.5), (2, 0.25), (3, 0.75), (4, 0.125), (7, 0.875)])
def test_phases_halve_the_widest_gap(index: int, phase: float) -> None:
    assert phase_of(index) == phase


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 16, 40])
def test_any_number_of_streams_lies_evenly(count: int) -> None:
    phases = sorted(phase_of(index) for index in range(count))
    gaps = [after - before for before, after in zip(phases, [*phases[1:], phases[0] + 1], strict=True)]
    assert max(gaps) <= 2 * min(gaps)


@pytest.mark.parametrize("cameras", [4, 8])
def test_cameras_on_one_tick_do_not_all_fall_due_in_it(cameras: int) -> None:
    period, frame = 200 * MS, 40 * MS
    last = dict.fromkeys(range(cameras), 0)
    most = 0
    for tick in range(1, 51):
        now = tick * frame
        due = [c for c in last if now >= next_look_ns(last[c], period, phase_of(c))]
        last.update(dict.fromkeys(due, now))
        most = max(most, len(due) if tick > 5 else 0)
    assert most <= -(-cameras * frame // period)


@given(last=st.integers(0, 10**12), period=st.integers(MS, 10**9), phase=st.floats(0, 0.999))
def test_the_next_look_is_later_and_at_most_a_period_away(last: int, period: int, phase: float) -> None:
    assert last < next_look_ns(last, period, phase) <= last + period


@given(late=st.lists(st.integers(0, 39), min_size=50, max_size=50))
def test_late_frames_do_not_slow_the_rate(late: list[int]) -> None:
    now, period = 0, 100 * MS
    for delay in late:
        now = next_look_ns(now, period, 0.3) + delay * MS
    assert now <= 51 * period


@given(
    fps=st.sampled_from([5, 10, 12, 15, 24, 25, 30, 50]),
    phase=st.floats(0, 0.999),
    shift_ms=st.integers(0, 199),
    late=st.lists(st.integers(0, 25), min_size=60, max_size=60),
)
def test_every_slot_of_a_face_has_a_look_though_the_grid_does_not_fit_the_frames(
    fps: int, phase: float, shift_ms: int, late: list[int]
) -> None:
    """Frames up to 25 ms late; their media time is exact, and slots lie anywhere."""
    period, slot, looked = 100 * MS, 200 * MS, set[int]()
    last = -period
    for index, delay in enumerate(late):
        pts = index * 1000 * MS // fps
        if pts + delay * MS >= next_look_ns(last, period, phase):
            last = pts + delay * MS
            looked.add((pts + shift_ms * MS) // slot)
    assert looked == set(range(min(looked), max(looked) + 1))


@pytest.mark.parametrize(
    ("period_ms", "stride", "expected_ms"), [(100, 1, 100), (100, 2, 200), (100, 3, 200), (500, 3, 500), (50, 3, 150)]
)
def test_thinned_sampling_looks_less_often_but_once_a_slot(period_ms: int, stride: int, expected_ms: int) -> None:
    assert thinned_period_ns(period_ms * MS, 200 * MS, stride) == expected_ms * MS


def face(number: int, *, detected: bool = True) -> TrackedFace:
    return TrackedFace(TrackId(number), FaceBox((100.0, 100.0, 200.0, 180.0), 0.9), detected)


STILL = {TrackId(number): (0.0, 0.0) for number in range(3)}


@pytest.mark.parametrize(
    ("tracks", "found", "before", "steady"),
    [
        ((), 0, (), True),
        ((face(1), face(2)), 2, (1, 2), True),
        ((face(1),), 1, (), False),
        ((face(1),), 1, (1, 2), False),
        ((), 0, (1,), False),
        ((face(1), face(2, detected=False)), 1, (1, 2), False),
        ((face(1),), 2, (1,), False),
        ((), 1, (), False),
    ],
    ids=["empty", "the same", "a new face", "one is gone", "all are gone", "one not seen", "one doubted", "a doubt"],
)
def test_a_picture_is_steady_when_the_same_faces_are_seen_again(
    tracks: tuple[TrackedFace, ...], found: int, before: tuple[int, ...], steady: bool
) -> None:
    assert is_steady(tracks, found, [TrackId(number) for number in before], STILL) is steady


@pytest.mark.parametrize(("sides_per_s", "steady"), [(0.0, True), (0.9 * SLOW, True), (1.1 * SLOW, False)])
def test_a_picture_with_a_fast_face_is_not_steady(sides_per_s: float, steady: bool) -> None:
    velocities = {TrackId(1): (0.0, -100.0 * sides_per_s)}
    assert is_steady((face(1),), 1, (TrackId(1),), velocities) is steady


@pytest.mark.parametrize(("period_ms", "rest_ms"), [(100, 150), (200, 100), (50, 175), (500, 0)])
def test_a_steady_picture_is_looked_at_about_once_a_slot(period_ms: int, rest_ms: int) -> None:
    assert longest_rest_ns(period_ms * MS, 200 * MS) == rest_ms * MS
