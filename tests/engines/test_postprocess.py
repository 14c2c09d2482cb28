from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.postprocess import (
    Detections,
    ScrfdMap,
    YunetMap,
    calibrated_probability,
    decode_centerface,
    decode_scrfd,
    decode_yunet,
    iou,
    sigmoid,
    without_overlaps,
)
from engines.spec import Calibration

LOGITS = st.floats(-1e300, 1e300, allow_nan=False)
SIZE = (64, 96)


def boxes(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (count, 2))
    return np.hstack([corner, corner + rng.uniform(1, 60, (count, 2))]).astype(np.float32)


def found(count: int, seed: int) -> Detections:
    confidence = np.random.default_rng(seed + 1).permutation(count).astype(np.float32) / max(count, 1)
    return Detections(boxes(count, seed), confidence, np.zeros((count, 5, 2), np.float32))


@settings(deadline=None)
@given(LOGITS)
def test_a_probability_is_within_its_range_for_every_logit(logit: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        assert 0 <= float(sigmoid(logit)) <= 1


@settings(deadline=None)
@given(st.floats(-30, 30))
def test_the_sigmoid_is_the_textbook_one(logit: float) -> None:
    assert float(sigmoid(logit)) == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-12)
    assert float(sigmoid(logit) + sigmoid(-logit)) == pytest.approx(1)


@settings(deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.05, 20), st.floats(-5, 5))
def test_calibration_never_swaps_two_faces(low: float, high: float, temperature: float, bias: float) -> None:
    calibration = Calibration(temperature=temperature, bias=bias)
    first, second = calibrated_probability(sorted((low, high)), calibration)
    assert first <= second


def test_calibration_divides_the_shifted_logit() -> None:
    calibration = Calibration(temperature=2.0, bias=1.0)
    assert calibrated_probability([3.0, -1.0], calibration) == pytest.approx([1 / (1 + math.exp(-2)), 0.5])
    assert calibrated_probability(np.zeros((4, 1)), calibration).shape == (4, 1)


def test_a_logit_that_is_no_number_is_never_a_probability() -> None:
    assert np.isnan(calibrated_probability(float("nan"), Calibration(temperature=1.0)))


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 99))
def test_overlap_is_symmetric_and_between_nothing_and_all(rows: int, columns: int, seed: int) -> None:
    a, b = boxes(rows, seed), boxes(columns, seed + 7)
    assert iou(a, b).shape == (rows, columns)
    assert np.allclose(iou(a, b), iou(b, a).T)
    assert ((iou(a, b) >= 0) & (iou(a, b) <= 1)).all()
    assert np.allclose(np.diag(iou(a, a)), 1)


def test_half_of_a_box_overlaps_by_a_half() -> None:
    assert iou(np.array([[0, 0, 10, 10]]), np.array([[0, 0, 10, 5], [20, 20, 30, 30]])).tolist() == [[0.5, 0]]


def test_an_empty_box_overlaps_nothing() -> None:
    assert iou(np.array([[5, 5, 5, 5], [9, 9, 1, 1]]), np.array([[5, 5, 5, 5]])).tolist() == [[0], [0]]


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 999), st.floats(0.05, 0.95))
def test_suppression_keeps_the_surest_and_leaves_no_pair_overlapping(count: int, seed: int, limit: float) -> None:
    before = found(count, seed)
    after = without_overlaps(before, limit)
    assert list(after.confidence) == sorted(after.confidence, reverse=True)
    overlap = iou(after.xyxy, after.xyxy) - np.eye(len(after))
    assert (overlap <= limit).all()
    if count:
        assert after.confidence[0] == before.confidence.max()
        assert (iou(before.xyxy, after.xyxy).max(axis=1) > limit).sum() >= len(after)
    dropped = [row for row in range(count) if before.confidence[row] not in after.confidence]
    for row in dropped:
        surer = after.take(np.flatnonzero(after.confidence > before.confidence[row]))
        assert iou(before.xyxy[row : row + 1], surer.xyxy).max() > limit


def test_no_faces_is_an_answer_too() -> None:
    none = without_overlaps(found(0, 0), 0.3)
    assert (len(none), none.xyxy.shape, none.landmarks.shape) == (0, (0, 4), (0, 5, 2))


def test_faces_move_with_their_picture() -> None:
    one = Detections(np.array([[1, 2, 3, 4]], np.float32), np.ones(1, np.float32), np.full((1, 5, 2), 5, np.float32))
    wider = one.scaled(10, 100)
    assert wider.xyxy.tolist() == [[10, 200, 30, 400]]
    assert wider.landmarks[0, 0].tolist() == [50, 500]
    assert repr(wider) == "Detections(1)"


def test_a_centerface_peak_becomes_its_box_and_landmarks() -> None:
    heat, scale, offset, points = (np.zeros((1, depth, 24, 16), np.float32) for depth in (1, 2, 2, 10))
    heat[0, 0, 5, 3] = 0.9
    heat[0, 0, 8, 8] = 0.3
    scale[0, :, 5, 3] = np.log([6, 4])  # height and width, in cells
    offset[0, :, 5, 3] = (0.25, -0.25)  # y, x
    points[0, :, 5, 3] = np.linspace(0.0, 0.9, 10)  # y0 x0 y1 x1 …
    face = decode_centerface(heat, scale, offset, points, 0.5)
    assert len(face) == 1
    cx, cy = (3 - 0.25 + 0.5) * 4, (5 + 0.25 + 0.5) * 4
    assert face.xyxy[0] == pytest.approx([cx - 8, cy - 12, cx + 8, cy + 12])
    assert face.landmarks[0, 1] == pytest.approx([cx - 8 + 0.3 * 16, cy - 12 + 0.2 * 24], abs=1e-4)
    assert face.confidence[0] == pytest.approx(0.9)


def scrfd_maps(*, points: bool, batch: bool) -> list[ScrfdMap]:
    maps = []
    for stride in (8, 16, 32):
        anchors = SIZE[0] // stride * (SIZE[1] // stride) * 2
        shape = (1, anchors) if batch else (anchors,)
        arrays = [np.zeros((*shape, depth), np.float32) for depth in (1, 4, 10)]
        maps.append(ScrfdMap(arrays[0], arrays[1], arrays[2] if points else None))
    return maps


@pytest.mark.parametrize("batch", [False, True])
def test_a_scrfd_anchor_becomes_its_box_and_landmarks(batch: bool) -> None:
    maps = scrfd_maps(points=True, batch=batch)
    row = (2 * 4 + 3) * 2 + 1  # stride 16 of a 64-wide input: 4 cells a row, two anchors each; cell (3, 2)
    maps[1].scores.reshape(-1)[row] = 0.8
    maps[1].distances.reshape(-1, 4)[row] = (1, 2, 0.5, 0.25)
    maps[1].points.reshape(-1, 10)[row, :2] = (-1, 1)  # type: ignore[union-attr]
    face = decode_scrfd(maps, SIZE, 0.5)
    assert face.xyxy.tolist() == [[48 - 16, 32 - 32, 48 + 8, 32 + 4]]
    assert face.landmarks[0, :2].tolist() == [[32, 48], [48, 32]]


def test_a_scrfd_without_landmarks_gives_none() -> None:
    maps = scrfd_maps(points=False, batch=True)
    maps[0].scores[0, 5] = 0.5  # the limit itself counts, as in insightface
    assert decode_scrfd(maps, SIZE, 0.5).landmarks.shape == (1, 0, 2)


def test_a_yunet_cell_becomes_its_box_and_landmarks() -> None:
    maps = []
    for stride in (8, 16, 32):
        cells = SIZE[0] // stride * (SIZE[1] // stride)
        maps.append(YunetMap(*(np.zeros((1, cells, depth), np.float32) for depth in (1, 1, 4, 10))))
    row = 4 * 8 + 6  # stride 8: 8 cells a row; cell (6, 4)
    maps[0].classes[0, row], maps[0].objects[0, row] = 1.5, 0.64  # clipped to 1
    maps[0].boxes[0, row] = (0.5, -0.5, math.log(2), math.log(3))
    maps[0].points[0, row, 4:6] = (1, 2)
    face = decode_yunet(maps, SIZE, 0.6)
    assert face.confidence.tolist() == pytest.approx([0.8])
    assert face.xyxy[0] == pytest.approx([52 - 8, 28 - 12, 52 + 8, 28 + 12])
    assert face.landmarks[0, 2].tolist() == [56, 48]


def test_one_map_too_few_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="argument"):
        decode_scrfd(scrfd_maps(points=True, batch=True)[:2], SIZE, 0.5)
