"""The face swap: geometry by its laws, pixels by what may and may not change."""

from __future__ import annotations

from itertools import islice

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.demo.materials import Actor, Points, load_actor, load_portrait
from stream.demo.swap import (
    Patch,
    aligned,
    enlarged,
    face_mask,
    match_colour,
    mesh,
    moving_shapes,
    relit,
    skin_mask,
    swapped_patches,
    warp,
    with_forehead,
)

PORTRAIT = load_portrait()
ACTOR = load_actor()
SIZE_WH = (512, 512)


def test_every_frame_of_the_actor_has_its_points_inside_the_picture() -> None:
    height, width = ACTOR.frames[0].shape[:2]
    assert ACTOR.points.shape == (len(ACTOR.frames), 68, 2)
    assert (ACTOR.points >= 0).all()
    assert (ACTOR.points < (width, height)).all()


@settings(max_examples=40, deadline=None)
@given(
    turn=st.floats(-1.0, 1.0),
    scale=st.floats(0.3, 3.0),
    dx=st.floats(-200, 200),
    dy=st.floats(-200, 200),
)
def test_alignment_undoes_any_move_turn_and_scaling(turn: float, scale: float, dx: float, dy: float) -> None:
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = PORTRAIT.points @ (scale * rotation).T + (dx, dy)
    assert np.allclose(aligned(moved, PORTRAIT.points), PORTRAIT.points, atol=1e-6)


def test_alignment_never_mirrors_a_face() -> None:
    mirrored = PORTRAIT.points * (-1, 1)
    assert turns_right(mirrored) != turns_right(PORTRAIT.points)
    assert turns_right(aligned(mirrored, PORTRAIT.points)) == turns_right(mirrored)


def turns_right(points: Points) -> bool:
    """Whether ear, chin, other ear go round clockwise."""
    (x1, y1), (x2, y2) = points[8] - points[0], points[16] - points[0]
    return bool(x1 * y2 - y1 * x2 > 0)


def test_an_actor_who_holds_still_moves_nothing() -> None:
    still = np.repeat(ACTOR.points[:1], 4, axis=0)
    shapes = moving_shapes(PORTRAIT.points, still)
    assert np.ptp(shapes, axis=0).max() < 1e-9


def test_a_head_that_only_turns_in_the_picture_shows_no_expression() -> None:
    turned = [ACTOR.points[0] @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in (0.0, 0.1, 0.2)]
    shapes = moving_shapes(PORTRAIT.points, np.stack(turned))
    assert np.ptp(shapes, axis=0).max() < 1e-6


def test_the_jaw_keeps_the_portraits_outline_on_average() -> None:
    shapes = moving_shapes(PORTRAIT.points, ACTOR.points)
    assert np.allclose(shapes[:, :17].mean(axis=0), PORTRAIT.points[:17])


def test_warping_onto_its_own_shape_changes_nothing_inside_the_face() -> None:
    triangles = mesh(PORTRAIT.points)
    same = warp(PORTRAIT.rgb, PORTRAIT.points, PORTRAIT.points, triangles, SIZE_WH)
    inside = face_mask(PORTRAIT.points, SIZE_WH) == 255
    difference = np.abs(same.astype(int) - PORTRAIT.rgb)[inside]
    assert np.percentile(difference, 99) <= 2


def test_warping_moves_a_landmark_to_its_new_place() -> None:
    points = PORTRAIT.points.copy()
    marked = np.zeros_like(PORTRAIT.rgb)
    nose = tuple(int(value) for value in np.round(points[30]))
    cv2.circle(marked, nose, 2, (255, 255, 255), -1)
    shape = points.copy()
    shape[30] += (6, 4)
    moved = warp(marked, points, shape, mesh(points), SIZE_WH)
    found = np.argwhere(moved[..., 0] > 128).mean(axis=0)[::-1]
    assert np.allclose(found, shape[30], atol=1.5)


def test_the_mask_stays_inside_the_mesh() -> None:
    mask = face_mask(PORTRAIT.points, SIZE_WH)
    hull = cv2.convexHull(with_forehead(PORTRAIT.points).astype(np.float32))
    inside = [cv2.pointPolygonTest(hull, (float(x), float(y)), False) >= 0 for y, x in np.argwhere(mask > 0)[::37]]
    assert all(inside)


def test_the_mask_covers_eyes_nose_and_mouth() -> None:
    mask = face_mask(PORTRAIT.points, SIZE_WH)
    features = np.round(PORTRAIT.points[27:]).astype(int)
    assert (mask[features[:, 1], features[:, 0]] > 200).all()


def test_colours_are_matched_under_the_mask() -> None:
    rng = np.random.default_rng(1)
    face = rng.normal((90, 110, 150), 12, (40, 40, 3)).clip(0, 255).astype(np.uint8)
    target = rng.normal((200, 160, 140), 10, (40, 40, 3)).clip(0, 255).astype(np.uint8)
    mask = np.full((40, 40), 255, np.uint8)
    matched = match_colour(face, target, mask)
    assert np.allclose(matched.mean(axis=(0, 1)), target.mean(axis=(0, 1)), atol=3)


def test_enlarging_keeps_brightness() -> None:
    large = enlarged(ACTOR.frames[0])
    assert large.shape[0] == 4 * ACTOR.frames[0].shape[0]
    assert large.mean() == pytest.approx(ACTOR.frames[0].mean(), abs=2)


@pytest.fixture(scope="module")
def patches() -> list[Patch]:
    short = Actor(ACTOR.frames[:50:49], ACTOR.points[:50:49])
    return list(islice(swapped_patches(PORTRAIT.rgb, PORTRAIT.points, short), 2))


def test_a_swap_changes_the_face_and_nothing_outside_its_outline(patches: list[Patch]) -> None:
    swapped = patches[0].on(PORTRAIT.rgb)
    changed = np.abs(swapped.astype(int) - PORTRAIT.rgb).max(axis=-1) > 1
    rows, columns = np.argwhere(changed).T
    left, top = with_forehead(PORTRAIT.points).min(axis=0) - 3
    right, bottom = with_forehead(PORTRAIT.points).max(axis=0) + 3
    assert left <= columns.min() <= columns.max() <= right
    assert top <= rows.min() <= rows.max() <= bottom
    assert changed[120:160, 200:250].mean() > 0.8


def test_a_swapped_face_has_the_portraits_skin_tone(patches: list[Patch]) -> None:
    swapped = patches[0].on(PORTRAIT.rgb)
    skin = skin_mask(face_mask(PORTRAIT.points, SIZE_WH), (PORTRAIT.points,)) > 0
    assert np.allclose(swapped[skin].mean(axis=0), PORTRAIT.rgb[skin].mean(axis=0), atol=8)


def test_skin_leaves_out_eyes_and_mouth() -> None:
    mask = face_mask(PORTRAIT.points, SIZE_WH)
    skin = skin_mask(mask, (PORTRAIT.points,))
    x, y = np.round(PORTRAIT.points[36:]).astype(int).T
    nose_x, nose_y = np.round(PORTRAIT.points[29]).astype(int)
    assert not skin[y, x].any()
    assert skin[nose_y, nose_x] == 255


def test_relighting_keeps_the_dark_dark() -> None:
    face = np.full((20, 20, 3), 80, np.uint8)
    face[:5] = 0
    mask = np.zeros((20, 20), np.uint8)
    mask[10:] = 255
    lit = relit(face, np.full((20, 20, 3), 160, np.uint8), mask)
    assert np.abs(lit[10:].astype(int) - 160).max() <= 1
    assert lit[:5].max() == 0


def test_the_swapped_face_moves_with_the_actor(patches: list[Patch]) -> None:
    first, second = patches
    assert first.rgb.shape == second.rgb.shape
    assert np.abs(first.rgb.astype(int) - second.rgb).mean() > 2


def test_a_patch_leaves_the_portrait_itself_alone(patches: list[Patch]) -> None:
    before = PORTRAIT.rgb.copy()
    patches[0].on(PORTRAIT.rgb)
    assert np.array_equal(before, PORTRAIT.rgb)
