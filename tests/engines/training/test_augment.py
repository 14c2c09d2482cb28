"""Augmentation: repeatable, label-blind, and still a picture."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from engines.training.augment import (
    SMALLEST_CROP,
    Framing,
    Odds,
    View,
    frame_face,
    random_framing,
    random_view,
    through_a_stream,
)
from engines.training.degrade import Rgb, Rng, add_noise, blur, expose, gamma, jpeg, sharpen, shift_colour, squash, tint
from engines.training.h264 import BEST_CRF, WORST_CRF, h264, h264_clip
from engines.training.self_blend import blend_mask, self_blended

FACE: Rgb = np.ascontiguousarray(astronaut()[0:224, 110:334])


def augmented(rng: Rng, rgb: Rgb, size: int) -> Rgb:
    """All that happens to a training picture."""
    return through_a_stream(rng, random_view(rng, rgb.shape[0]).of(rgb, size))


CHANGES: dict[str, Callable[[Rng, Rgb], Rgb]] = {
    "colour": lambda rng, rgb: shift_colour(rng, rgb, 0.12),
    "squash": lambda rng, rgb: squash(rng, rgb, 0.4),
    "blur": lambda rng, rgb: blur(rng, rgb, 1.4),
    "sharpen": sharpen,
    "noise": lambda rng, rgb: add_noise(rng, rgb, 5.0),
    "jpeg": lambda _, rgb: jpeg(rgb, 40),
    "gamma": lambda _, rgb: gamma(rgb, 1.3),
    "exposure": lambda rng, rgb: expose(rgb, rng.uniform(-1.5, 1.2)),
    "tint": lambda rng, rgb: tint(rng, rgb, 0.2),
    "h264": lambda rng, rgb: h264(rng, rgb, 30),
    "stream": through_a_stream,
    "all odds": lambda rng, rgb: through_a_stream(rng, rgb, 1.0, Odds(h264=1.0, exposure=1.0, colour=1.0)),
    "self-blend": self_blended,
    "all": lambda rng, rgb: augmented(rng, rgb, 144),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_seed_gives_the_same_picture(name: str) -> None:
    one, other = (CHANGES[name](np.random.default_rng(3), FACE) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_gives_a_picture_and_leaves_its_input_alone(name: str) -> None:
    before = FACE.copy()
    for seed in range(8):
        changed = CHANGES[name](np.random.default_rng(seed), FACE)
        assert changed.dtype == np.uint8
        assert changed.shape == ((144, 144, 3) if name == "all" else FACE.shape)
    assert np.array_equal(FACE, before)


def test_reals_and_fakes_pass_through_one_function_that_is_not_told_the_label() -> None:
    assert list(inspect.signature(through_a_stream).parameters) == ["rng", "rgb", "degradation", "odds"]
    assert list(inspect.signature(random_view).parameters) == ["rng", "side"]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_mask_is_seen_as_its_picture_is(mirrored: bool) -> None:
    """A white patch painted on a still and given as a mask, of the still's size or of half of it, stay together."""
    mask = np.zeros((224, 224), np.float32)
    cv2.ellipse(mask, (90, 130), (40, 25), 0, 0, 360, (1.0,), -1)
    view = View(Framing(105, 120, 170, degrees=7), mirrored)
    painted = view.of(np.repeat((mask * 255).astype(np.uint8)[..., None], 3, 2), 192)[..., 0] / 255
    halved = cv2.resize(mask, (112, 112), interpolation=cv2.INTER_AREA)
    for drawn in (mask, halved):
        seen = view.of_mask(np.asarray(drawn, np.float32), 224, 192)
        assert np.abs(seen - painted).mean() < 0.01
        assert seen.mean() > 0.05


def test_without_degradation_a_stream_changes_nothing() -> None:
    assert all(np.array_equal(through_a_stream(np.random.default_rng(seed), FACE, 0.0), FACE) for seed in range(30))


def test_half_the_degradation_leaves_more_pictures_untouched() -> None:
    untouched = [
        sum(np.array_equal(through_a_stream(np.random.default_rng(seed), FACE, share), FACE) for seed in range(60))
        for share in (1.0, 0.5)
    ]
    assert untouched[0] < untouched[1]


def test_seeds_differ() -> None:
    pictures = [augmented(np.random.default_rng(seed), FACE, 64) for seed in range(6)]
    assert len({picture.tobytes() for picture in pictures}) == 6


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(64, 512))
def test_a_framing_lies_inside_the_still(seed: int, side: int) -> None:
    framing = random_framing(np.random.default_rng(seed), side)
    assert SMALLEST_CROP * side <= framing.side <= side
    for centre in (framing.cx, framing.cy):
        assert framing.side / 2 - 1e-6 <= centre <= side - framing.side / 2 + 1e-6


def test_the_whole_still_at_its_own_size_is_the_still() -> None:
    assert np.array_equal(frame_face(FACE, Framing(112, 112, 224), 224), FACE)


def test_a_smaller_framing_looks_closer() -> None:
    closer = frame_face(FACE, Framing(112, 112, 112), 112)
    assert np.array_equal(closer, FACE[56:168, 56:168])


def test_jpeg_keeps_the_channel_order() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    assert np.abs(jpeg(red, 90).astype(int) - red).max() < 12


def test_lower_quality_loses_more() -> None:
    losses = [np.abs(jpeg(FACE, quality).astype(int) - FACE).mean() for quality in (95, 60, 30)]
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_a_blend_mask_is_a_soft_patch_within_the_face(seed: int) -> None:
    mask = blend_mask(np.random.default_rng(seed), 96)
    assert mask.shape == (96, 96)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask.mean() < 0.6


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
@example(34)  # its first mask is empty
def test_a_self_blended_fake_is_never_its_real(seed: int) -> None:
    flat = np.full((96, 96, 3), 128, np.uint8)
    flat[::2] = 90
    assert not np.array_equal(self_blended(np.random.default_rng(seed), flat), flat)


def test_a_self_blended_fake_differs_inside_and_hardly_at_the_corners() -> None:
    differences = []
    for seed in range(40):
        change = np.abs(self_blended(np.random.default_rng(seed), FACE).astype(int) - FACE)
        differences.append((change[90:150, 80:144].mean(), change[:12, :12].mean()))
    inside, corner = np.mean(differences, axis=0)
    assert inside > 2
    assert inside > 1.5 * corner


def test_a_worse_rate_factor_loses_more_of_the_picture() -> None:
    crfs = (BEST_CRF, 28, WORST_CRF)
    losses = [np.abs(h264(np.random.default_rng(0), FACE, crf).astype(int) - FACE).mean() for crf in crfs]
    assert losses == sorted(losses)
    assert 0 < losses[0] < 4
    assert losses[-1] > 2 * losses[0]


@pytest.mark.parametrize("shape", [(63, 63), (64, 48), (33, 50)])
def test_h264_keeps_size_place_and_colours_of_any_picture(shape: tuple[int, int]) -> None:
    height, width = shape
    picture = np.full((height, width, 3), (180, 90, 60), np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = (20, 60, 160)
    for seed in range(4):
        sent = h264(np.random.default_rng(seed), picture, BEST_CRF)
        assert sent.shape == picture.shape
        assert np.abs(sent.astype(int) - picture).mean() < 4


def test_a_clip_keeps_its_frames_in_order() -> None:
    frames = np.stack([np.roll(FACE[:96, :96], 4 * shift, axis=1) for shift in range(5)])
    sent = h264_clip(np.random.default_rng(0), frames, 26).astype(int)
    nearest = [int(np.argmin([np.abs(frame - other).mean() for other in frames])) for frame in sent]
    assert nearest == [0, 1, 2, 3, 4]


def test_a_stop_of_light_doubles_it_on_the_sensor_and_clips() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert expose(grey, 0.0)[0, 0, 0] == 100
    assert (expose(grey, 1.0)[0, 0, 0] / 100) ** 2.2 == pytest.approx(2, abs=0.05)
    assert expose(grey, 6.0).max() == 255


def test_odds_of_nothing_draw_nothing() -> None:
    before, after = np.random.default_rng(3), np.random.default_rng(3)
    assert np.array_equal(through_a_stream(before, FACE), through_a_stream(after, FACE, 1.0, Odds()))
    assert before.random() == after.random()


@pytest.mark.parametrize("odds", [Odds(h264=1.0), Odds(exposure=1.0), Odds(colour=1.0)])
def test_odds_hold_without_degradation_too(odds: Odds) -> None:
    assert not np.array_equal(through_a_stream(np.random.default_rng(0), FACE, 0.0, odds), FACE)
