"""The demo's camera moves smoothly, sees noisily, and is the same at every run."""

from __future__ import annotations

import numpy as np
import pytest

from stream.demo.camera_motion import NOISE, Camera, Pose, camera_path

SIZE_WH = (96, 64)
STILL = Pose(dx=0.0, dy=0.0, zoom=1.0, roll_degrees=0.0, gain=(1.0, 1.0, 1.0))


def camera(seed: int = 1) -> Camera:
    return Camera(SIZE_WH, np.random.default_rng(seed))


def scene(value: int = 120) -> np.ndarray:
    return np.full((90, 128, 3), value, np.uint8)


def test_a_path_has_a_pose_for_every_frame() -> None:
    assert len(camera_path(75, 30, np.random.default_rng(0))) == 75


def test_the_same_seed_gives_the_same_path() -> None:
    first, second = (camera_path(60, 30, np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_the_camera_never_jumps() -> None:
    poses = camera_path(900, 30, np.random.default_rng(3))
    steps = np.diff([(pose.dx, pose.dy) for pose in poses], axis=0)
    assert np.abs(steps).max() < 6
    assert np.abs(np.diff([pose.roll_degrees for pose in poses])).max() < 0.3
    assert np.abs(np.diff([pose.zoom for pose in poses])).max() < 0.01


def test_the_camera_does_move() -> None:
    poses = camera_path(900, 30, np.random.default_rng(3))
    assert np.ptp([pose.dx for pose in poses]) > 20
    assert np.ptp([pose.zoom for pose in poses]) > 0.03


def test_a_still_camera_sees_the_scene_with_noise_alone() -> None:
    picture = camera().shoot(scene(), STILL).astype(float)
    assert picture.shape == (64, 96, 3)
    assert picture.mean() == pytest.approx(120, abs=1)
    assert picture.std() == pytest.approx(NOISE, rel=0.2)


def test_noise_differs_from_frame_to_frame() -> None:
    one = camera()
    assert not np.array_equal(one.shoot(scene(), STILL), one.shoot(scene(), STILL))


def test_exposure_and_tint_act_on_their_own_channels() -> None:
    pose = Pose(dx=0.0, dy=0.0, zoom=1.0, roll_degrees=0.0, gain=(1.2, 1.0, 0.8))
    means = camera().shoot(scene(100), pose).mean(axis=(0, 1))
    assert np.allclose(means, (120, 100, 80), atol=1.5)


def test_panning_moves_the_picture_by_that_many_pixels() -> None:
    marked = scene(40)
    marked[30:50, 54:74] = 220
    pose = Pose(dx=9.0, dy=-4.0, zoom=1.0, roll_degrees=0.0, gain=(1.0, 1.0, 1.0))
    still, moved = (camera().shoot(marked, where)[..., 1] > 130 for where in (STILL, pose))
    shift = np.argwhere(moved).mean(axis=0) - np.argwhere(still).mean(axis=0)
    assert np.allclose(shift, (-4, 9), atol=0.3)
