"""The arithmetic of a benchmark, on made-up observations."""

from __future__ import annotations

import json
import math

import pytest

from stream.benchmark.observations import (
    SAMPLED_SHARE,
    Counts,
    Rates,
    Recorder,
    Scored,
    ages_ms,
    base_ns,
    gaps_in_frames,
    largest,
    largest_kept,
    latencies_ms,
    misses_of,
    numbers_of,
    rounded,
    wanted_of,
)
from stream.types import FaceScore, Scene, StreamName, StreamState, TrackId, Verdict

MS = 1_000_000
SECOND = 1000 * MS
CAM = StreamName("cam")
RATES = Rates(camera_fps=25.0, slots_per_s=1.0)


def scored(pts_ms: float, captured_ms: float, published_ms: float) -> Scored:
    return Scored(round(pts_ms * MS), round(captured_ms * MS), round(published_ms * MS))


def scene(pts_ms: int, published_ms: int, *, fresh: bool = True, state: StreamState = StreamState.PLAYING) -> Scene:
    pts_ns = pts_ms * MS
    face = FaceScore(TrackId(1), (0, 0, 9, 9), Verdict.REAL, 0.2, scored_pts_ns=pts_ns if fresh else pts_ns - 1)
    return Scene(CAM, (face,), pts_ns, published_ms * MS, pts_ns + 500 * MS, state=state)


def test_gaps_are_in_times_of_the_cameras_period() -> None:
    assert gaps_in_frames([0, 40 * MS, 120 * MS], 25.0) == [1.0, 2.0]


def test_latency_counts_from_the_camera_and_not_from_a_late_decoder() -> None:
    every = [scored(0, 1000, 1030), scored(200, 1350, 1380)]  # the second came 150 ms late
    assert base_ns(every) == 1000 * MS
    assert latencies_ms(every, base_ns(every)) == [30.0, 180.0]


def test_the_age_of_the_newest_score_grows_until_the_next_one() -> None:
    every = [scored(0, 1000, 1030), scored(200, 1200, 1230)]
    ages = ages_ms(every, base_ns(every), (1000 * MS, 1270 * MS), step_ns=100 * MS)
    assert ages == [30.0, 130.0, 30.0]
    assert ages_ms([], 0, (0, SECOND)) == []


def test_a_stream_that_was_seen_regularly_is_at_full_rate() -> None:
    recorder = Recorder(video_stage=None)
    for index in range(50):
        recorder.frame_arrived(CAM, index * 40 * MS)
    recorder.publish(scene(100, 640))
    recorder.publish(scene(300, 850))
    recorder.frame_dropped(CAM, "analysis", "newer_frame")
    numbers = numbers_of(recorder, Counts(), "cam", (0, 2 * SECOND), RATES)
    assert (numbers.fps, numbers.gap_p99_frames, numbers.scores_per_s) == (25.0, 1.0, 1.0)
    assert (numbers.latency_p50_ms, numbers.latency_p95_ms) == pytest.approx((45.0, 49.5))
    assert (numbers.video_drops, numbers.analysis_skips) == (0, 1)
    assert not misses_of(numbers, 25.0)


def test_drops_before_the_measurement_do_not_count() -> None:
    recorder = Recorder(video_stage=None)
    recorder.frame_dropped(CAM, "video", "error")
    recorder.sample_skipped(CAM, "calm")
    before = recorder.counts()
    recorder.frame_dropped(CAM, "video", "error")
    assert numbers_of(recorder, before, "cam", (0, SECOND), RATES).video_drops == 1
    assert not before.drops[CAM, "video"] > 1
    assert numbers_of(recorder, before, "cam", (0, SECOND), RATES).samples_wanted == 0


def test_a_picture_that_is_drawn_and_then_dropped_is_not_delivered() -> None:
    recorder, now = Recorder(video_stage="overlay"), [0]
    recorder.watch_clock(lambda: now[0])
    for index in range(50):
        now[0] = index * 40 * MS
        recorder.frame_arrived(CAM, now[0])
        if index == 0:  # no room before the drawing: never shown
            recorder.frame_dropped(CAM, "video", "newer_frame")
            continue
        recorder.stage_took(CAM, "overlay", 0.001)
        if index % 10 == 1:  # drawn, and no room before the encoder
            recorder.frame_dropped(CAM, "video", "newer_frame")
    numbers = numbers_of(recorder, Counts(), "cam", (0, 2 * SECOND), RATES)
    assert (numbers.fps, numbers.delivered_fps, numbers.video_drops) == (24.5, 22.0, 6)
    assert numbers.fps >= 0.98 * 25
    assert not numbers.is_full_rate(25.0)


@pytest.mark.parametrize(
    ("faces", "passed_over", "wanted"),
    [([1, 1, 1], 0, 50.0), ([1, 3], 0, 100.0), ([1], 20, 30.0), ([], 0, 0.0), ([0], 1, 0.0)],
)
def test_samples_are_wanted_in_each_slot_of_each_face_but_the_calm_ones(
    faces: list[int], passed_over: int, wanted: float
) -> None:
    assert wanted_of(faces, 50.0, passed_over) == wanted


@pytest.mark.parametrize(("reason", "is_kept"), [("calm", True), ("configured", True), ("overload", False)])
def test_a_stream_that_was_thinned_out_for_want_of_time_is_not_carried(reason: str, is_kept: bool) -> None:
    recorder = Recorder(video_stage=None)
    for index in range(250):
        recorder.frame_arrived(CAM, index * 40 * MS)
    for slot in range(10):
        recorder.publish(scene(slot * 1000, slot * 1000 + 540, fresh=slot % 2 == 0))
        if slot % 2:
            recorder.sample_skipped(CAM, reason)
    numbers = numbers_of(recorder, Counts(), "cam", (0, 10 * SECOND), RATES)
    assert numbers.samples == 5
    assert (numbers.sampled_share >= SAMPLED_SHARE) is is_kept
    assert misses_of(numbers, 25.0) == (() if is_kept else ("samples",))
    assert (not misses_of(numbers, 25.0)) is is_kept


def test_what_was_not_scored_or_not_shown_is_not_carried() -> None:
    recorder = Recorder(video_stage=None)
    for index in range(25):
        recorder.frame_arrived(CAM, index * 40 * MS)
    unscored = numbers_of(recorder, Counts(), "cam", (0, SECOND), RATES)
    assert math.isnan(unscored.latency_p95_ms)
    assert misses_of(unscored, 25.0)
    recorder.publish(scene(100, 640))
    slow = numbers_of(recorder, Counts(), "cam", (0, 2 * SECOND), RATES)
    assert slow.fps == 12.5
    assert misses_of(slow, 25.0)


def test_only_fresh_scores_of_playing_streams_are_noted() -> None:
    recorder = Recorder(video_stage=None)
    recorder.publish(scene(100, 640, fresh=False))
    recorder.publish(scene(100, 640, state=StreamState.RECONNECTING))
    assert not recorder.scored[CAM]


def test_a_drawn_stream_is_shown_when_its_overlay_is_done() -> None:
    recorder = Recorder(video_stage="overlay")
    recorder.watch_clock(lambda: 7)
    recorder.frame_arrived(CAM, 1)
    recorder.stage_took(CAM, "overlay", 0.001)
    assert recorder.shown_ns[CAM] == [7]
    assert list(recorder.threads.values()) == ["overlay"]


@pytest.mark.parametrize("first", [1, 8])
@pytest.mark.parametrize("most", [0, 1, 2, 3, 5, 8, 11, 64, 100])
def test_the_largest_number_is_found_and_no_count_is_tried_twice(most: int, first: int) -> None:
    asked: list[int] = []

    def carries(count: int) -> bool:
        asked.append(count)
        return count <= most

    assert largest(carries, 64, first) == min(most, 64)
    assert len(asked) == len(set(asked)) <= 13
    assert max(asked) <= 64


@pytest.mark.parametrize(("begin", "most", "expected"), [(9, 9, 9), (9, 7, 7), (3, 0, 0), (0, 5, 0)])
def test_the_number_that_is_told_was_carried_at_full_length(begin: int, most: int, expected: int) -> None:
    asked: list[int] = []

    def carries(count: int) -> bool:
        asked.append(count)
        return count <= most

    assert largest_kept(begin, carries) == expected
    assert asked == list(range(begin, max(expected, 1) - 1, -1))


def test_json_has_no_number_that_is_not_one() -> None:
    made = rounded({"a": float("nan"), "b": [1.23456, scored(1, 2, 3)], 3: None})
    assert json.loads(json.dumps(made, allow_nan=False)) == {
        "a": None,
        "b": [1.235, {"pts_ns": MS, "captured_ns": 2 * MS, "published_ns": 3 * MS}],
        "3": None,
    }


def test_rates_broken_pictures_and_failed_inferences_are_remembered() -> None:
    recorder, camera = Recorder(video_stage=None), StreamName("camera")
    recorder.source_fps(camera, 25.0)
    recorder.source_fps(camera, 50.0)
    recorder.frame_damaged(camera)
    recorder.frame_damaged(camera)
    recorder.inference_failed("model", "cpu")
    assert (recorder.fps, dict(recorder.damaged), recorder.failed_inferences) == ({camera: 50.0}, {camera: 2}, 1)
