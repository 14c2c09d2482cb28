from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.overlay.fit import Letterbox, SceneFit, fitted
from stream.types import Scene, Xyxy
from tests.stream.overlay.scenes import face_of, scene_of

sides = st.integers(1, 8000)
sizes = st.tuples(sides, sides)


def analysed(frame_wh: tuple[int, int], box: Xyxy = (20.0, 10.0, 60.0, 90.0)) -> Scene:
    return dataclasses.replace(scene_of(face_of(box, velocity=(40.0, -8.0))), frame_wh=frame_wh)


@pytest.mark.parametrize(
    ("frame_wh", "picture_wh", "box"),
    [
        ((320, 240), (640, 480), (40.0, 20.0, 120.0, 180.0)),
        ((320, 240), (160, 120), (10.0, 5.0, 30.0, 45.0)),
        ((320, 120), (160, 120), (10.0, 35.0, 30.0, 75.0)),
        ((100, 200), (400, 200), (170.0, 10.0, 210.0, 90.0)),
    ],
)
def test_boxes_follow_the_letterbox(frame_wh: tuple[int, int], picture_wh: tuple[int, int], box: Xyxy) -> None:
    (face,) = fitted(analysed(frame_wh), picture_wh).faces
    assert face.xyxy == pytest.approx(box)


def test_velocities_are_scaled_and_not_moved() -> None:
    (face,) = fitted(analysed((320, 120)), (160, 120)).faces
    assert face.velocity == (20.0, -4.0)


@pytest.mark.parametrize("frame_wh", [(0, 0), (640, 480)])
def test_a_scene_of_unknown_or_equal_size_stays_as_it_is(frame_wh: tuple[int, int]) -> None:
    scene = analysed(frame_wh)
    assert fitted(scene, (640, 480)) is scene


def test_everything_but_the_geometry_is_kept() -> None:
    scene = analysed((320, 240))
    back = fitted(fitted(scene, (640, 480)), (320, 240))
    assert back == scene


@given(sizes, sizes)
def test_the_whole_frame_lies_in_the_middle_and_touches_two_sides(
    frame_wh: tuple[int, int], picture_wh: tuple[int, int]
) -> None:
    letterbox = Letterbox.of(frame_wh, picture_wh)
    left, top = letterbox.point(0, 0)
    right, bottom = letterbox.point(*frame_wh)
    assert left + right == pytest.approx(picture_wh[0])
    assert top + bottom == pytest.approx(picture_wh[1])
    assert min(left, top) == pytest.approx(0, abs=1e-6)


def test_a_scene_is_fitted_once() -> None:
    fit, scene = SceneFit(), analysed((320, 240))
    first = fit.of(scene, (640, 480))
    assert fit.of(scene, (640, 480)) is first
    assert fit.of(dataclasses.replace(scene), (640, 480)) is not first


def test_another_picture_size_fits_the_scene_anew() -> None:
    fit, scene = SceneFit(), analysed((320, 240))
    fit.of(scene, (640, 480))
    assert fit.of(scene, (160, 120)).faces == fitted(scene, (160, 120)).faces
