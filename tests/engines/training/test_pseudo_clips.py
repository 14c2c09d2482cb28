"""Pseudo-clips: smooth, one stream a clip, and repeatable."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from engines.training.pseudo_clips import camera_path, clip_of, random_stream

FACE = np.ascontiguousarray(astronaut()[0:224, 110:334])
SECONDS = np.arange(20) * 0.2


def test_a_clip_is_a_function_of_its_seed() -> None:
    one, other = (clip_of(np.random.default_rng(5), FACE, SECONDS, 96) for _ in range(2))
    assert one.shape == (20, 96, 96, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, other)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_the_camera_drifts_and_never_jumps(seed: int) -> None:
    path = camera_path(np.random.default_rng(seed), 224, SECONDS)
    for earlier, later in itertools.pairwise(path):
        assert np.hypot(later.cx - earlier.cx, later.cy - earlier.cy) < 0.12 * 224
        assert abs(later.side / earlier.side - 1) < 0.05
        assert abs(later.degrees - earlier.degrees) < 4
    assert all(0.7 * 224 < framing.side < 1.05 * 224 for framing in path)


def test_most_cameras_move() -> None:
    spans = []
    for seed in range(30):
        path = camera_path(np.random.default_rng(seed), 224, SECONDS)
        spans.append(np.ptp([framing.cx for framing in path]))
    assert np.median(spans) > 2


def test_frames_of_a_clip_resemble_each_other_more_than_those_of_two_clips() -> None:
    clips = [clip_of(np.random.default_rng(seed), FACE, SECONDS[:6], 64).astype(float) for seed in range(8)]
    within = np.mean([np.abs(clip[0] - clip[1]).mean() for clip in clips])
    between = np.mean([np.abs(one[0] - other[0]).mean() for one, other in itertools.pairwise(clips)])
    assert within < between / 2


def test_a_camera_is_as_bright_at_the_same_time_whatever_is_rendered_beside() -> None:
    few, many = (camera_path(np.random.default_rng(9), 224, times) for times in (SECONDS[[0, 7]], SECONDS))
    assert few[0] == many[0]
    assert few[1] == many[7]


def test_some_streams_are_clean_and_some_are_poor() -> None:
    streams = [random_stream(np.random.default_rng(seed)) for seed in range(200)]
    assert any(stream.quality > 95 and stream.noise == 0 and stream.resolution == 1 for stream in streams)
    assert any(stream.quality < 50 and stream.resolution < 0.7 for stream in streams)


def test_a_clip_may_be_sent_as_h264_and_without_odds_is_what_it_was() -> None:
    seconds = np.arange(4) * 0.2
    plain, same, sent = (
        clip_of(np.random.default_rng(1), FACE, seconds, 96, **odds) for odds in ({}, {"h264": 0.0}, {"h264": 1.0})
    )
    assert np.array_equal(plain, same)
    assert sent.shape == plain.shape
    assert not np.array_equal(sent, plain)
    assert np.abs(sent.astype(int) - plain).mean() < 20
