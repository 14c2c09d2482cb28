from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.gst.retimer import Retimer

MS = 1_000_000
steps = st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 10**12)), st.integers(0, 3)), max_size=60)


def times(*frames: tuple[int | None, int]) -> list[int]:
    retimer = Retimer()
    return [retimer.next(None if ms is None else ms * MS, segment) // MS for ms, segment in frames]


@given(steps)
@settings(deadline=None)
def test_times_begin_at_zero_and_always_rise(frames: list[tuple[int | None, int]]) -> None:
    retimer = Retimer()
    out = [retimer.next(pts, segment) for pts, segment in frames]
    assert out[:1] in ([], [0])
    assert all(later > earlier for earlier, later in itertools.pairwise(out))


def test_within_a_segment_distances_are_kept() -> None:
    assert times((500, 0), (540, 0), (600, 0), (625, 0)) == [0, 40, 100, 125]


def test_a_new_segment_goes_on_one_frame_later() -> None:
    assert times((0, 0), (40, 0), (80, 0), (5000, 1), (5040, 1)) == [0, 40, 80, 120, 160]


def test_a_time_that_falls_goes_on_one_frame_later() -> None:
    assert times((1000, 0), (1040, 0), (0, 0), (40, 0)) == [0, 40, 80, 120]


def test_a_gap_of_minutes_does_not_freeze_the_recording() -> None:
    assert times((0, 0), (40, 0), (600_040, 0), (600_080, 0)) == [0, 40, 80, 120]


def test_frames_without_times_come_at_the_last_distance() -> None:
    assert times((0, 0), (40, 0), (None, 0), (None, 0)) == [0, 40, 80, 120]
