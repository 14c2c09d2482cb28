from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.sources.timeline import LONGEST_LIVE_GAP_NS, FrameRate, Timeline

SECOND = 1_000_000_000
SIZE = (640, 480)
times = st.lists(st.integers(0, 100 * SECOND), min_size=1, max_size=30)


def live() -> Timeline:
    return Timeline(rebased=True, longest_gap_ns=LONGEST_LIVE_GAP_NS)


def file() -> Timeline:
    return Timeline(rebased=False, longest_gap_ns=None)


def test_frames_in_step_share_a_segment_that_starts_at_zero() -> None:
    timeline = live()
    places = [timeline.place(5 * SECOND + index * SECOND // 30, SIZE) for index in range(90)]
    assert {place.segment for place in places} == {0}
    assert places[0].pts_ns == 0
    assert {place.cut for place in places} == {None}


def test_time_that_falls_begins_a_segment() -> None:
    timeline = live()
    timeline.place(5 * SECOND, SIZE)
    place = timeline.place(4 * SECOND, SIZE)
    assert (place.segment, place.pts_ns, place.cut) == (1, 0, "pts_jump")


def test_a_live_leap_of_more_than_a_second_begins_a_segment_and_a_second_does_not() -> None:
    timeline = live()
    timeline.place(0, SIZE)
    assert timeline.place(SECOND, SIZE).segment == 0
    assert timeline.place(2 * SECOND + 1, SIZE).cut == "pts_jump"


def test_a_change_of_size_begins_a_segment() -> None:
    timeline = file()
    timeline.place(0, SIZE)
    place = timeline.place(40_000_000, (1280, 720))
    assert (place.segment, place.cut) == (1, "caps_change")


def test_opening_again_begins_a_segment_but_is_no_cut_of_the_source() -> None:
    timeline = live()
    timeline.place(9 * SECOND, SIZE)
    timeline.restart()
    place = timeline.place(3 * SECOND, (320, 240))
    assert (place.segment, place.pts_ns, place.cut) == (1, 0, None)


def test_attempts_without_a_frame_use_up_no_segment() -> None:
    timeline = live()
    for _ in range(5):
        timeline.restart()
    assert timeline.place(0, SIZE).segment == 0


def test_a_files_variable_frame_rate_is_kept_as_it_is() -> None:
    timeline = file()
    stamps = [0, 40_000_000, 3 * SECOND, 3 * SECOND + 1, 60 * SECOND]
    assert [timeline.place(stamp, SIZE).pts_ns for stamp in stamps] == stamps
    assert timeline.place(60 * SECOND, SIZE).segment == 0


@settings(deadline=None)
@given(times, st.booleans())
def test_time_never_falls_within_a_segment_and_segments_never_fall(stamps: list[int], is_live: bool) -> None:
    timeline = live() if is_live else file()
    places = [timeline.place(stamp, SIZE) for stamp in stamps]
    for before, after in itertools.pairwise(places):
        assert after.segment in (before.segment, before.segment + 1)
        assert after.segment > before.segment or after.pts_ns >= before.pts_ns
        assert (after.cut is not None) == (after.segment > before.segment)


@settings(deadline=None)
@given(times)
def test_no_live_segment_spans_more_than_a_second_between_two_frames(stamps: list[int]) -> None:
    timeline = live()
    places = [timeline.place(stamp, SIZE) for stamp in stamps]
    for before, after in itertools.pairwise(places):
        if after.segment == before.segment:
            assert after.pts_ns - before.pts_ns <= LONGEST_LIVE_GAP_NS


@settings(deadline=None)
@given(st.integers(2, 240))
def test_the_rate_of_an_even_stream_is_its_rate(fps: int) -> None:
    rate = FrameRate()
    told = [value for index in range(3 * fps + 3) if (value := rate.add(index * SECOND // fps)) is not None]
    assert told
    assert all(abs(value - fps) < 0.02 * fps for value in told)


def test_the_rate_is_told_once_a_second() -> None:
    rate = FrameRate()
    told = [rate.add(index * SECOND // 25) is not None for index in range(101)]
    assert sum(told) == 4


def test_time_that_falls_starts_the_measurement_again() -> None:
    rate = FrameRate()
    rate.add(10 * SECOND)
    assert rate.add(0) is None
    assert rate.add(SECOND) == 1.0
