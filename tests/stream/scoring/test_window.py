"""The window's laws: uniform in media time, whatever the frame rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.spec import WindowSpec
from stream.scoring.window import FeatureWindow

SPEC = WindowSpec(slots=20, period_s=0.2, min_samples=5, feature_dim=2)
PERIOD_NS = 200_000_000
SECOND_NS = 1_000_000_000

frame_rates = st.floats(10, 60)
starts_ns = st.integers(0, 3600 * SECOND_NS)


def sampled(times_ns: list[int]) -> tuple[FeatureWindow, list[int]]:
    """A window fed with every due time; the feature holds the time in periods. Also the times that were taken."""
    window, taken = FeatureWindow(SPEC), []
    for pts_ns in times_ns:
        if window.is_due(pts_ns):
            window.add(pts_ns, np.full(2, pts_ns / PERIOD_NS, np.float32))
            taken.append(pts_ns)
    return window, taken


def steady(start_ns: int, fps: float, seconds: float) -> list[int]:
    return [start_ns + round(index * SECOND_NS / fps) for index in range(int(seconds * fps))]


@st.composite
def variable_frame_times(draw: st.DrawFn) -> list[int]:
    """Frames 5 ms to 90 ms apart, for at least ten seconds."""
    gaps = draw(st.lists(st.integers(5_000_000, 90_000_000), min_size=20, max_size=60))
    repeats = -(-10 * SECOND_NS // sum(gaps))
    return [int(pts_ns) for pts_ns in draw(starts_ns) + np.cumsum(gaps * repeats)]


@given(fps=frame_rates, start_ns=starts_ns)
def test_a_window_spans_the_same_seconds_at_any_frame_rate(fps: float, start_ns: int) -> None:
    window, taken = sampled(steady(start_ns, fps, 8))
    span_ns = taken[-1] - taken[-SPEC.slots]
    assert window.mask().tolist() == [1.0] * SPEC.slots
    assert abs(span_ns - 19 * PERIOD_NS) <= SECOND_NS / fps + 1


@given(times_ns=variable_frame_times())
def test_a_variable_frame_rate_fills_the_same_window(times_ns: list[int]) -> None:
    window, taken = sampled(times_ns)
    assert window.count == SPEC.slots
    assert abs(taken[-1] - taken[-SPEC.slots] - 19 * PERIOD_NS) <= 90_000_000


@given(jitter=st.lists(st.integers(-45_000_000, 45_000_000), min_size=40, max_size=40))
def test_a_source_at_the_sample_rate_fills_every_slot_in_spite_of_jitter(jitter: list[int]) -> None:
    times_ns = [SECOND_NS + index * PERIOD_NS + offset for index, offset in enumerate([0, *jitter])]
    window, taken = sampled(times_ns)
    assert taken == times_ns
    assert window.count == SPEC.slots


@given(times_ns=variable_frame_times(), dropped=st.sets(st.integers(0, 400), max_size=200))
def test_a_dropped_frame_never_moves_the_grid(times_ns: list[int], dropped: set[int]) -> None:
    kept = [times_ns[0], *(pts_ns for index, pts_ns in enumerate(times_ns[1:]) if index not in dropped)]
    window, taken = sampled(kept)
    anchor_ns = times_ns[0] - PERIOD_NS // 4
    last = (taken[-1] - anchor_ns) // PERIOD_NS
    slots = {last - (pts_ns - anchor_ns) // PERIOD_NS for pts_ns in taken}
    if max(np.diff(taken), default=0) < 20 * PERIOD_NS:
        assert window.mask().tolist() == [float(19 - index in slots) for index in range(20)]


def test_missing_frames_are_masked_slots_and_not_a_stretched_window() -> None:
    times_ns = [pts_ns for pts_ns in steady(0, 30, 6) if not 3 * SECOND_NS <= pts_ns < 4 * SECOND_NS]
    window, _ = sampled(times_ns)
    features, mask = window.features(), window.mask()
    assert mask.tolist() == [1.0] * 5 + [0.0] * 4 + [1.0] * 11
    assert not features[mask == 0].any()
    assert features[-1, 0] - features[0, 0] == pytest.approx(19, abs=0.2)


@given(times_ns=st.lists(st.integers(0, 20 * SECOND_NS), min_size=1, max_size=80))
def test_a_window_has_at_most_one_sample_a_slot_and_the_newest_is_last(times_ns: list[int]) -> None:
    window, taken = sampled(times_ns)
    kept = window.features()[window.mask() > 0, 0]
    assert window.count <= min(SPEC.slots, len(taken))
    assert window.mask()[-1] == 1.0
    assert kept[-1] == np.float32(taken[-1] / PERIOD_NS)
    assert np.all(np.diff(kept) > 0)


def test_a_taken_slot_refuses_a_second_sample() -> None:
    window, _ = sampled([0])
    with pytest.raises(ValueError, match="one sample a slot"):
        window.add(10_000_000, np.zeros(2, np.float32))


def test_an_empty_window_is_due_and_all_masked() -> None:
    window = FeatureWindow(SPEC)
    assert window.is_due(123)
    assert window.count == 0
    assert window.mask().tolist() == [0.0] * 20
    assert window.slots_at(5 * SECOND_NS) == (False,) * 20
    assert repr(window) == "FeatureWindow(0/20 slots)"


def test_a_warming_window_is_filled_from_its_newest_end() -> None:
    window, _ = sampled(steady(0, 30, 1))
    assert window.mask().tolist() == [0.0] * 14 + [1.0] * 6


@given(gap_s=st.floats(4.1, 1e5))
def test_a_gap_longer_than_the_window_begins_a_new_one(gap_s: float) -> None:
    window, _ = sampled([*steady(0, 30, 5), 5 * SECOND_NS + round(gap_s * SECOND_NS)])
    assert window.count == 1


def test_a_large_step_back_in_time_begins_a_new_window() -> None:
    window, taken = sampled([*steady(60 * SECOND_NS, 30, 5), 2 * SECOND_NS])
    assert taken[-1] == 2 * SECOND_NS
    assert window.count == 1


def test_a_small_step_back_in_time_is_jitter() -> None:
    window, taken = sampled(steady(0, 30, 5))
    before = window.count
    assert not window.is_due(taken[-1] - 100_000_000)
    assert window.count == before


def test_clearing_forgets_everything_and_takes_a_new_anchor() -> None:
    window, _ = sampled(steady(0, 30, 5))
    window.clear()
    assert window.count == 0
    assert not window.features().any()
    assert window.is_due(0)


@given(times_ns=variable_frame_times())
def test_a_window_copied_into_an_array_is_the_window(times_ns: list[int]) -> None:
    window, _ = sampled(times_ns)
    features, mask = np.full((20, 2), 7, np.float32), np.full(20, 7, np.float32)
    window.copy_into(features, mask)
    np.testing.assert_array_equal(features, window.features())
    np.testing.assert_array_equal(mask, window.mask())


def test_features_are_kept_as_copies() -> None:
    window, feature = FeatureWindow(SPEC), np.ones(2, np.float32)
    window.add(0, feature)
    feature[:] = 5
    window.features()[:] = 9
    assert window.features()[-1].tolist() == [1.0, 1.0]


@settings(max_examples=25)
@given(missing=st.integers(0, 40))
def test_the_strip_empties_while_samples_stay_away(missing: int) -> None:
    window, taken = sampled(steady(0, 30, 6))
    slots = window.slots_at(taken[-1] + missing * PERIOD_NS)
    assert slots == (True,) * max(20 - missing, 0) + (False,) * min(missing, 20)


def test_a_window_s_memory_does_not_grow() -> None:
    window, _ = sampled(steady(0, 30, 1))
    ring = window._ring
    for pts_ns in steady(SECOND_NS, 30, 60):
        if window.is_due(pts_ns):
            window.add(pts_ns, np.ones(2, np.float32))
    assert window._ring is ring
    assert ring.shape == (20, 2)
    assert ring.dtype == np.float32


@given(every=st.integers(1, 6), fps=frame_rates, start_ns=starts_ns)
def test_sampling_every_nth_slot_leaves_equal_gaps_in_time(every: int, fps: float, start_ns: int) -> None:
    """The distance that ``slot_at`` tells decides; what lies between is masked, never stretched."""
    window, taken = FeatureWindow(SPEC), []
    for pts_ns in steady(start_ns, fps, 10):
        _, steps = window.slot_at(pts_ns)
        if window.is_due(pts_ns) and (steps is None or steps >= every):
            window.add(pts_ns, np.full(2, pts_ns / PERIOD_NS, np.float32))
            taken.append(window.slot_at(pts_ns)[0])
    assert set(np.diff(taken)) == {every}
    assert window.mask()[::-every].all()
    assert window.count == -(-SPEC.slots // every)


def test_an_empty_window_has_no_newest_sample_to_count_from() -> None:
    assert FeatureWindow(SPEC).slot_at(7 * PERIOD_NS)[1] is None
