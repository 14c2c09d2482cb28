from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.preprocess import Planes
from stream.overlay import Overlay
from stream.overlay.sprites import SpriteCache
from stream.types import QualityReason, Scene, StreamName, Verdict
from tests.stream.overlay.scenes import NOW_NS, SECOND, GuardedFrame, face_of, same_picture, scene_of, uv_of

layouts = pytest.mark.parametrize("interleaved", [False, True], ids=["I420", "NV12"])
coordinates = st.floats(-3000, 3000, allow_nan=False)
faces = st.builds(
    face_of,
    st.tuples(coordinates, coordinates, coordinates, coordinates),
    st.sampled_from(Verdict),
    st.one_of(st.none(), st.floats(0, 1)),
    reason=st.one_of(st.none(), st.sampled_from(QualityReason)),
    velocity=st.tuples(coordinates, coordinates),
    track=st.integers(0, 5),
)


def drawn(scene: Scene, width: int = 640, height: int = 480, *, interleaved: bool = False, late_ns: int = 0) -> Planes:
    frame = GuardedFrame(width, height, interleaved=interleaved)
    Overlay().draw(frame.planes, scene, NOW_NS + late_ns)
    assert frame.guards_are_intact()
    return frame.planes


def changed(one: Planes, other: Planes) -> np.ndarray:
    """(N, 2) rows and columns of luma that differ."""
    return np.argwhere(one.y != other.y)


@given(
    size=st.sampled_from([(1, 1), (2, 2), (16, 16), (63, 65), (333, 201), (855, 481)]),
    seen=st.lists(faces, max_size=4, unique_by=lambda face: face.track_id),
    interleaved=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_scene_nothing_is_written_outside_the_planes(
    size: tuple[int, int], seen: list, interleaved: bool
) -> None:
    frame = GuardedFrame(*size, interleaved=interleaved)
    Overlay().draw(frame.planes, scene_of(*seen), NOW_NS)
    assert frame.guards_are_intact()


@layouts
def test_an_empty_scene_draws_the_header_only(interleaved: bool) -> None:
    planes = drawn(scene_of(), interleaved=interleaved)
    empty = GuardedFrame(640, 480, interleaved=interleaved).planes
    rows = changed(planes, empty)[:, 0]
    assert len(rows) > 0
    assert rows.max() < 40


@layouts
def test_a_face_changes_luma_and_both_chromas(interleaved: bool) -> None:
    planes = drawn(scene_of(face_of()), interleaved=interleaved)
    u, v = uv_of(planes)
    below_header = np.s_[25:]
    assert (planes.y[50:] != 90).any()
    assert (u[below_header] != 128).any()
    assert (v[below_header] != 128).any()


@pytest.mark.parametrize("size", [(640, 480), (855, 481), (720, 1280)])
def test_both_layouts_show_the_same_picture(size: tuple[int, int]) -> None:
    scene = scene_of(face_of(), face_of((400, 100, 500, 220), Verdict.UNSURE, 0.5, track=2))
    assert same_picture(drawn(scene, *size), drawn(scene, *size, interleaved=True))


def test_drawing_again_on_a_fresh_frame_gives_the_same_picture() -> None:
    overlay, scene = Overlay(), scene_of(face_of())
    frames = [GuardedFrame(640, 480, interleaved=False).planes for _ in range(3)]
    for frame in frames:
        overlay.draw(frame, scene, NOW_NS)
    assert same_picture(frames[0], frames[1])
    assert same_picture(frames[1], frames[2])


def test_each_verdict_makes_a_different_picture() -> None:
    pictures = [drawn(scene_of(face_of(verdict=verdict))).y for verdict in Verdict]
    for index, picture in enumerate(pictures):
        assert not any(np.array_equal(picture, other) for other in pictures[:index])


def marks_of(planes: Planes) -> np.ndarray:
    """Columns in which a face's marks changed the rows between header and label."""
    return np.unique(np.argwhere(planes.y[60:295] != 90)[:, 1])


def test_a_box_follows_its_velocity() -> None:
    face = face_of(velocity=(100.0, 0.0))
    at_once, later = (marks_of(drawn(scene_of(face), late_ns=late)) for late in (0, SECOND // 5))
    assert later.min() - at_once.min() == 20


def test_a_box_follows_no_longer_than_three_tenths_of_a_second() -> None:
    face = face_of(velocity=(100.0, 0.0))
    ends = [marks_of(drawn(scene_of(face), late_ns=late)).min() for late in (3 * SECOND // 10, SECOND)]
    assert ends[0] == ends[1]


def test_a_clock_before_the_capture_moves_nothing() -> None:
    face = face_of(velocity=(100.0, 0.0))
    assert same_picture(drawn(scene_of(face), late_ns=-5 * SECOND), drawn(scene_of(face)))


def test_a_scene_of_a_larger_frame_is_drawn_where_the_letterbox_shows_it() -> None:
    """1280x1440 in 640x480: a third of the size, with bars left and right."""
    large = dataclasses.replace(scene_of(face_of((320, 450, 680, 900), velocity=(300.0, 0.0))), frame_wh=(1280, 1440))
    left = (640 - 1280 / 3) / 2
    fitting = scene_of(face_of((left + 320 / 3, 150, left + 680 / 3, 300), velocity=(100.0, 0.0)))
    for late_ns in (0, SECOND // 5):
        assert same_picture(drawn(large, late_ns=late_ns), drawn(fitting, late_ns=late_ns))


def test_an_old_score_is_drawn_without_colour() -> None:
    fresh, stale = (drawn(scene_of(face_of()), late_ns=late) for late in (0, 4 * SECOND))
    strongest = [np.abs(uv_of(planes)[1][25:].astype(int) - 128).max() for planes in (fresh, stale)]
    assert strongest[0] > 60
    assert strongest[1] < 20


def test_a_score_of_old_samples_is_stale_though_the_scene_is_new() -> None:
    fresh, stale = (drawn(scene_of(face_of(scored_s=scored))) for scored in (40.0, 35.0))
    assert not same_picture(fresh, stale)


def test_a_scene_that_was_never_captured_has_no_age() -> None:
    scene = dataclasses.replace(scene_of(face_of(velocity=(500.0, 0.0))), captured_ns=0)
    assert marks_of(drawn(scene)).min() == marks_of(drawn(scene_of(face_of()))).min()


def test_a_tiny_frame_has_no_room_for_words() -> None:
    planes = drawn(Scene(StreamName("cam")), 16, 16)
    assert (planes.y == 90).all()


@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (3840, 2160)])
def test_twenty_faces_keep_their_pictures_free_of_labels(size: tuple[int, int]) -> None:
    width, height = size
    step, side = (width / 5, height / 4.6), width / 22
    seen = [
        face_of((x, y, x + side, y + 1.3 * side), list(Verdict)[i % 4], track=i)
        for i in range(20)
        for x, y in [((i % 5 + 0.3) * step[0], (i // 5 + 0.45) * step[1])]
    ]
    planes = drawn(scene_of(*seen), width, height)
    for face in seen:
        left, top, right, bottom = (round(value) for value in face.xyxy)
        inner = planes.y[
            top + round(side / 3) : bottom - round(side / 3), left + round(side / 3) : right - round(side / 3)
        ]
        assert (inner == 90).all()


def test_memory_does_not_grow_with_what_was_shown() -> None:
    cache = SpriteCache(max_bytes=200_000)
    overlay = Overlay(cache=cache)
    frame = GuardedFrame(640, 480, interleaved=False).planes
    for index in range(60):
        face = face_of((100 + index, 150, 300 + 2 * index, 400), probability=index / 60, track=index)
        overlay.draw(frame, scene_of(face), NOW_NS + index * SECOND // 10)
    assert 0 < cache.bytes <= 200_000
    assert len(overlay._places) == 1


def test_what_sprites_take_is_counted_with_their_keys_where_pictures_are_small() -> None:
    cache = SpriteCache()
    overlay, frame = Overlay(cache=cache), GuardedFrame(320, 240, interleaved=False).planes
    face = face_of((100, 50, 200, 150))

    def draw(index: int) -> None:
        curve = tuple((40 * SECOND - back * SECOND // 10, (index + back) % 97 / 97) for back in range(100, -1, -1))
        seen = dataclasses.replace(face, history=curve, fake_probability=index / 200)
        overlay.draw(frame, scene_of(seen), NOW_NS + index * SECOND // 10)

    draw(0)
    tracemalloc.start()
    before, counted_before = tracemalloc.get_traced_memory()[0], cache.bytes
    for index in range(1, 200):
        draw(index)
    held, counted = tracemalloc.get_traced_memory()[0] - before, cache.bytes - counted_before
    tracemalloc.stop()
    assert 500_000 < held < 1.5 * counted, f"{held} bytes held, {counted} counted"
