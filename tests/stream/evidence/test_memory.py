from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.evidence.memory import FORGET_CROPS_S, LONGEST_ROWS, Memory, copied
from stream.types import StreamName, TrackId
from tests.fakes import planes_of
from tests.stream.evidence.evidence_parts import LOBBY, crop_of, face_of, lasting, scene_of

CROP = crop_of(0).nbytes


def levels(memory: Memory, track: int = 1) -> list[int]:
    return [int(item.crop[0, 0, 0]) for item in memory.crops(LOBBY, TrackId(track))]


def feed(memory: Memory, track: int, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        memory.face_embedded(LOBBY, TrackId(track), round(number * 2e8), crop_of(number % 256))


def test_the_newest_crops_of_a_face_are_kept() -> None:
    memory = Memory(slots=20, keep_s=5)
    feed(memory, 1, 50)
    assert levels(memory) == list(range(30, 50))
    assert memory.held_bytes == 20 * CROP


@settings(deadline=None, max_examples=40)
@given(turns=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 12)), max_size=40))
def test_crops_of_all_faces_together_are_bounded_and_counted_right(turns: list[tuple[int, int]]) -> None:
    memory, now = Memory(slots=5, keep_s=5, crop_bytes=12 * CROP), 0
    for track, count in turns:
        feed(memory, track, count, first=now)
        now += count
        held = sum(len(memory.crops(LOBBY, TrackId(number))) for number in range(1, 7))
        assert memory.held_bytes == held * CROP <= 12 * CROP


def test_where_there_are_many_faces_each_keeps_about_as_many() -> None:
    memory = Memory(slots=20, keep_s=5, crop_bytes=12 * CROP)
    for number in range(20):
        for track in range(1, 5):
            feed(memory, track, 1, first=number)
    assert [len(levels(memory, track)) for track in range(1, 5)] == [3, 3, 3, 3]
    assert levels(memory, 1) == [17, 18, 19]


@pytest.mark.parametrize("later_s", [FORGET_CROPS_S + 1, -1.0])
def test_a_face_that_is_gone_is_forgotten(later_s: float) -> None:
    memory = Memory(slots=20, keep_s=5)
    feed(memory, 1, 5)
    memory.face_embedded(LOBBY, TrackId(2), round((0.8 + later_s) * 1e9), crop_of(9))
    assert (levels(memory, 1), levels(memory, 2)) == ([], [9])


def test_moments_reach_as_far_back_as_was_asked() -> None:
    memory = Memory(slots=20, keep_s=5)
    for number in range(100):
        memory.remember(scene_of(face_of(1)), at=number / 10)
    kept = memory.moments(LOBBY, 0, 100)
    assert (kept[0].at, kept[-1].at) == (4.9, 9.9)
    assert [moment.at for moment in memory.moments(LOBBY, 6.0, 6.2)] == [6.0, 6.1, 6.2]


def test_moments_are_bounded_however_many_come() -> None:
    memory = Memory(slots=20, keep_s=1e6)
    scene = scene_of(face_of(1))
    for number in range(LONGEST_ROWS + 50):
        memory.remember(scene, at=float(number))
    assert len(memory.moments(LOBBY, 0, 1e9)) == LONGEST_ROWS


def test_the_picture_is_a_copy_of_the_frame_that_the_scene_was_found_on() -> None:
    memory, frame, scene = Memory(slots=20, keep_s=5), lasting(), scene_of(face_of(1))
    assert memory.picture(LOBBY) is None
    memory.frame_analysed(frame, scene)
    picture = memory.picture(LOBBY)
    assert picture is not None
    assert picture.scene is scene
    np.testing.assert_array_equal(picture.planes.y, frame.planes.y)
    assert not np.shares_memory(picture.planes.y, frame.planes.y)


def test_a_frame_that_nobody_can_borrow_again_gives_no_picture() -> None:
    memory = Memory(slots=20, keep_s=5)
    frame = lasting()
    memory.frame_analysed(type(frame)(LOBBY, frame.planes, 0, 0, 0), scene_of())
    assert memory.picture(LOBBY) is None


def test_a_stream_that_is_forgotten_leaves_nothing() -> None:
    memory = Memory(slots=20, keep_s=5)
    feed(memory, 1, 5)
    memory.remember(scene_of(), at=1.0)
    memory.forget(LOBBY)
    memory.forget(StreamName("unknown"))
    assert memory.held_bytes == 0
    assert (memory.crops(LOBBY, TrackId(1)), memory.moments(LOBBY, 0, 9)) == ((), ())


def test_a_copy_keeps_the_colours() -> None:
    planes = planes_of(65, 49)
    copy = copied(planes)
    assert (copy.matrix, copy.full_range, len(copy.chroma)) == (planes.matrix, planes.full_range, 2)
    copy.y[:] = 0
    assert planes.y.any()
