from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.overlay.brackets import Corner, corner_of, corner_rgba, edges
from stream.overlay.palette import LOOKS
from stream.types import Verdict

RED = LOOKS[Verdict.FAKE].rgb
CORNER = Corner(arm=24, stroke=4)
BOX = (100, 60, 300, 260)

sides = st.floats(0.5, 4000)
frames = st.sampled_from(["brackets", "closed", "dashed"])


@given(sides, sides, st.sampled_from([0.75, 1.0, 1.5, 3.0, 4.0]), frames)
@settings(deadline=None)
def test_corners_are_even_and_never_vanish(width: float, height: float, scale: float, frame: str) -> None:
    corner = corner_of(width, height, scale, frame)
    assert corner.arm % 2 == corner.stroke % 2 == 0
    assert corner.arm >= 8
    assert corner.stroke >= 2


@given(sides, sides, frames)
@settings(deadline=None)
def test_few_corner_sizes_serve_all_boxes(width: float, height: float, frame: str) -> None:
    assert corner_of(width, height, 1.0, frame).arm in range(8, 37, 4)


def test_corners_grow_with_the_box_up_to_a_limit() -> None:
    arms = [corner_of(side, side, 1.0, "brackets").arm for side in (40, 100, 150, 400, 2000)]
    assert arms == sorted(arms)
    assert arms[0] < arms[2]
    assert arms[3] == arms[4]


def test_the_four_corners_mirror_each_other() -> None:
    corners = [corner_rgba(CORNER, RED, 1.0, index) for index in range(4)]
    assert np.array_equal(corners[1], corners[0][:, ::-1])
    assert np.array_equal(corners[2], corners[0][::-1])
    assert np.array_equal(corners[3], corners[0][::-1, ::-1])


def test_a_corner_lies_on_the_border_of_the_box() -> None:
    """The middle of the stroke is one stroke inside the sprite; the face's side of it is empty."""
    alpha = corner_rgba(CORNER, RED, 1.0, 0)[..., 3]
    assert alpha[CORNER.stroke, 16] == 255
    assert alpha[16, CORNER.stroke] == 255
    assert alpha[16:, 16:].max() == 0


def test_a_corner_is_coloured_with_a_dark_rim() -> None:
    rgba = corner_rgba(CORNER, RED, 1.0, 0)
    assert tuple(rgba[CORNER.stroke, 16, :3]) == RED
    visible = rgba[rgba[..., 3] > 60][:, :3]
    assert visible.sum(axis=1).min() < 80


def test_a_faded_corner_lets_the_picture_through() -> None:
    assert corner_rgba(CORNER, RED, 0.5, 0)[..., 3].max() in (127, 128)


def test_brackets_have_no_edges() -> None:
    assert edges(BOX, CORNER, "brackets") == []


def test_a_closed_frame_joins_its_corners() -> None:
    rects = edges(BOX, CORNER, "closed")
    assert len(rects) == 4
    across = [rect for rect in rects if rect[2] - rect[0] > rect[3] - rect[1]]
    assert len(across) == 2
    assert all(left <= BOX[0] + CORNER.arm and right >= BOX[2] - CORNER.arm for left, _, right, _ in across)


def test_dashes_lie_between_the_corners_with_gaps() -> None:
    top = sorted(rect for rect in edges(BOX, CORNER, "dashed") if rect[1] < BOX[1] + 4 and rect[2] - rect[0] > 4)
    assert len(top) > 2
    assert top[0][0] > BOX[0] + CORNER.arm - CORNER.stroke
    assert top[-1][2] < BOX[2] - CORNER.arm + CORNER.stroke
    gaps = [later[0] - earlier[2] for earlier, later in itertools.pairwise(top)]
    assert min(gaps) >= 4


@pytest.mark.parametrize("frame", ["closed", "dashed"])
def test_a_box_smaller_than_its_corners_has_no_edges(frame: str) -> None:
    assert edges((10, 10, 20, 20), CORNER, frame) == []


@given(st.integers(0, 3000), st.integers(0, 3000))
@settings(deadline=None)
def test_edges_are_few_however_large_the_box(width: int, height: int) -> None:
    assert len(edges((0, 0, width, height), CORNER, "dashed")) <= 48
