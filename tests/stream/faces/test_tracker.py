from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.faces.tracker import TimeTracker, TrackerLimits, open_tracker
from stream.types import FaceBox, TrackedFace

SECOND = 1_000_000_000


def face(cx: float, cy: float = 200.0, side: float = 100.0, confidence: float = 0.9) -> FaceBox:
    half = side / 2
    return FaceBox((cx - half * 0.8, cy - half, cx + half * 0.8, cy + half), confidence, ((cx, cy),) * 5)


def at(seconds: float) -> int:
    return round(seconds * SECOND)


def centre(track: TrackedFace) -> tuple[float, float]:
    x1, y1, x2, y2 = track.face.xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def ids(tracks: tuple[TrackedFace, ...]) -> list[int]:
    return [track.track_id for track in tracks]


def test_a_sure_face_is_a_track_at_once() -> None:
    (track,) = open_tracker().update((face(100),), 0)
    assert (track.track_id, track.detected, track.face) == (1, True, face(100))


def test_an_unsure_face_is_a_track_at_its_second_detection() -> None:
    tracker = open_tracker()
    assert tracker.update((face(100, confidence=0.55),), at(0)) == ()
    (track,) = tracker.update((face(102, confidence=0.55),), at(0.1))
    assert track.track_id == 1


def test_an_unsure_face_seen_once_never_flickers() -> None:
    tracker = open_tracker()
    shown = [tracker.update((face(100, confidence=0.6),) if step == 3 else (), at(step / 10)) for step in range(12)]
    assert shown == [()] * 12


@settings(deadline=None)
@given(st.lists(st.floats(0.05, 0.25), min_size=5, max_size=30), st.floats(-200, 200), st.floats(-60, 60))
def test_a_moving_face_keeps_its_id_at_any_rate(gaps_s: list[float], vx: float, vy: float) -> None:
    tracker, now = open_tracker(), 0.0
    for gap_s in [0.0, *gaps_s]:
        now += gap_s
        (track,) = tracker.update((face(2000 + vx * now, 1000 + vy * now),), at(now))
        assert (track.track_id, track.detected) == (1, True)


@settings(deadline=None)
@given(st.floats(0.1, 0.9), st.floats(-150, 150))
def test_a_face_missed_for_less_than_a_second_comes_back_as_itself(gone_s: float, speed: float) -> None:
    tracker = open_tracker()
    for step in range(6):
        tracker.update((face(1000 + speed * step / 10),), at(step / 10))
    (missed,) = tracker.update((), at(0.5 + gone_s / 2))
    assert (missed.track_id, missed.detected) == (1, False)
    (back,) = tracker.update((face(1000 + speed * (0.5 + gone_s)),), at(0.5 + gone_s))
    assert (back.track_id, back.detected) == (1, True)


def test_a_predicted_face_moves_on_with_its_landmarks_and_then_stands() -> None:
    tracker = open_tracker()
    for step in range(8):
        tracker.update((face(100 + 20 * step),), at(step / 10))
    places = [tracker.update((), at(0.7 + gone))[0] for gone in (0.1, 0.2, 0.9, 1.0)]
    xs = [centre(place)[0] for place in places]
    assert 250 < xs[0] < xs[1] < xs[3]
    assert xs[3] - xs[2] < 0.5 * (xs[1] - xs[0])
    assert places[0].face.landmarks[0][0] == pytest.approx(xs[0])


@pytest.mark.parametrize("rate_hz", [2, 5, 10, 30])
def test_a_lost_face_is_given_up_after_seconds_not_frames(rate_hz: int) -> None:
    tracker = open_tracker(lost_after_s=1.0)
    tracker.update((face(100),), 0)
    alive = [now for now in np.arange(1, 4 * rate_hz) / rate_hz if tracker.update((), at(now))]
    assert max(alive) == pytest.approx(1.0)


def test_a_face_that_returns_too_late_is_somebody_new() -> None:
    tracker = open_tracker(lost_after_s=0.5)
    tracker.update((face(100),), 0)
    assert ids(tracker.update((face(100),), at(0.6))) == [2]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40))
def test_an_id_is_never_given_twice(script: list[tuple[int, bool]]) -> None:
    """Faces come and go at random and the tracker is reset at random: an id that was gone stays gone."""
    tracker, gone, before = open_tracker(lost_after_s=0.2), set(), set()
    for step, (count, resets) in enumerate(script):
        if resets:
            tracker.reset()
            gone, before = gone | before, set()
        now = set(ids(tracker.update(tuple(face(300 * n + 150) for n in range(count)), at(step * 0.3))))
        assert len(now) == count
        assert not now & gone
        gone, before = gone | (before - now), now


def test_a_reset_forgets_tracks_and_counts_on() -> None:
    tracker = open_tracker()
    tracker.update((face(100), face(400)), 0)
    tracker.reset()
    assert tracker.update((), at(0.1)) == ()
    assert ids(tracker.update((face(100),), at(0.2))) == [3]


def cross(occluded_s: float, rate_hz: int) -> list[dict[int, float]]:
    """Two faces walk past each other in 2 s at slightly different heights; the farther one is hidden meanwhile."""
    tracker, seen = open_tracker(), []
    for step in range(2 * rate_hz + 1):
        now = step / rate_hz
        left, right = face(200 + 200 * now, 200, 110), face(600 - 200 * now, 230, 90)
        hidden = abs(now - 1) < occluded_s / 2
        tracks = tracker.update((left,) if hidden else (right, left), at(now))
        seen.append({track.track_id: centre(track)[0] for track in tracks if track.detected})
    return seen


@pytest.mark.parametrize("rate_hz", [5, 10])
@pytest.mark.parametrize("occluded_s", [0.0, 0.3, 0.6])
def test_two_faces_that_cross_keep_their_ids(occluded_s: float, rate_hz: int) -> None:
    seen = cross(occluded_s, rate_hz)
    first, last = seen[0], seen[-1]
    assert set(first) == set(last) == {1, 2}
    for track_id, start in first.items():
        assert last[track_id] == pytest.approx(800 - start, abs=1)  # at the other's place


def test_twenty_faces_in_any_order_keep_their_ids() -> None:
    tracker, rng = open_tracker(), np.random.default_rng(0)
    homes = [(150.0 * (n % 5) + 100, 150.0 * (n // 5) + 100) for n in range(20)]
    place: dict[int, tuple[float, float]] = {}
    for step in range(20):
        order = rng.permutation(20)
        faces = tuple(face(homes[n][0] + rng.normal(0, 5), homes[n][1] + rng.normal(0, 5)) for n in order)
        for track in tracker.update(faces, at(step / 10)):
            home = place.setdefault(track.track_id, centre(track))
            assert np.hypot(*np.subtract(home, centre(track))) < 50
    assert sorted(place) == list(range(1, 21))


def test_a_far_face_or_one_of_another_size_is_another_face() -> None:
    for other in (face(400), face(100, side=250)):
        tracker = open_tracker()
        tracker.update((face(100),), 0)
        assert ids(tuple(track for track in tracker.update((other,), at(0.1)) if track.detected)) == [2]


def test_a_lost_face_behind_a_detected_one_is_kept_but_not_shown() -> None:
    tracker, standing = open_tracker(), face(100)
    for step in range(5):
        assert ids(tracker.update((standing, face(360 - 40 * step)), at(step / 10))) == [1, 2]
    assert ids(tracker.update((standing,), at(0.65))) == [1]  # the second is expected at about 118
    assert ids(tracker.update((standing, face(60)), at(0.8))) == [1, 2]


def test_time_that_runs_backwards_starts_anew() -> None:
    tracker = open_tracker()
    tracker.update((face(100),), at(5))
    assert ids(tracker.update((face(100),), at(1))) == [2]


def test_the_same_moment_twice_is_no_division_by_nothing() -> None:
    tracker = open_tracker()
    tracker.update((face(100),), at(1))
    (track,) = tracker.update((face(101),), at(1))
    assert (track.track_id, centre(track)[0]) == (1, pytest.approx(101))


def test_limits_are_what_a_stage_is_given() -> None:
    strict = TimeTracker(TrackerLimits(sure_confidence=0.99))
    assert strict.update((face(100),), 0) == ()
