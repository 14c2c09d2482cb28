from __future__ import annotations

import cv2
import numpy as np
import pytest

from engines.preprocess import Bytes, Planes
from stream.evidence.heatmap import CELLS, HeatMap
from stream.evidence.memory import Picture, copied
from stream.evidence.pictures import FLATTEST, blur, heat_jpeg, jpeg, others, relative, snapshot_jpeg
from stream.overlay import OverlayStyle
from stream.types import TrackId
from tests.fakes import planes_of
from tests.stream.evidence.evidence_parts import LEFT, RIGHT, crop_of, face_of, scene_of


def picture_of(data: bytes) -> Bytes:
    """RGB."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


def nv12(planes: Planes) -> Planes:
    return Planes(planes.y, (np.stack(planes.chroma, axis=2),))


def test_a_jpeg_has_its_colours_in_order() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 250
    assert np.abs(picture_of(jpeg(red)).astype(int) - red).max() < 8


def test_the_snapshot_is_the_picture_with_its_verdicts_drawn() -> None:
    planes = planes_of()
    plain = picture_of(snapshot_jpeg(Picture(copied(planes), scene_of()), OverlayStyle()))
    drawn = picture_of(snapshot_jpeg(Picture(copied(planes), scene_of(face_of(1))), OverlayStyle()))
    changed = np.abs(plain.astype(int) - drawn).max(2) > 60
    assert plain.shape == (240, 320, 3)
    assert changed[50:170, 10:110].any()
    assert not changed[200:, 220:].any()


@pytest.mark.parametrize("layout", ["i420", "nv12"])
def test_a_blurred_face_keeps_a_handful_of_values(layout: str) -> None:
    planes = copied(planes_of()) if layout == "i420" else nv12(planes_of())
    before = copied(planes)
    blur(planes, RIGHT)
    inside, outside = planes.y[60:160, 200:280], planes.y[:, :150]
    assert inside.std() < before.y[60:160, 200:280].std() / 3
    np.testing.assert_array_equal(outside, before.y[:, :150])
    small = cv2.resize(inside, (5, 5), interpolation=cv2.INTER_AREA)
    assert np.abs(cv2.resize(small, (80, 100)).astype(int) - inside).mean() < 3, "nothing finer is left in it"


@pytest.mark.parametrize("box", [(-50, -50, 10, 10), (310, 230, 400, 400), (500, 500, 600, 600), (10, 10, 10, 10)])
def test_a_face_at_the_border_or_outside_can_be_blurred(box: tuple[float, float, float, float]) -> None:
    blur(copied(planes_of(321, 241)), box)


def test_blurred_faces_stay_blurred_under_the_drawing() -> None:
    picture = Picture(copied(planes_of()), scene_of(face_of(1), face_of(2, RIGHT)))
    shown = picture_of(snapshot_jpeg(picture, OverlayStyle(), others(picture, TrackId(1))))
    assert shown[100:140, 220:260].std() < shown[100:140, 40:80].std() / 2


@pytest.mark.parametrize(("track", "hidden"), [(1, [2]), (2, [1]), (None, [1, 2]), (9, [1, 2])])
def test_others_are_all_but_the_alerts_face(track: int | None, hidden: list[int]) -> None:
    picture = Picture(planes_of(), scene_of(face_of(1, LEFT), face_of(2, RIGHT)))
    found = others(picture, None if track is None else TrackId(track))
    assert [face.track_id for face in found] == hidden


def heat(drops: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> HeatMap:
    return HeatMap(drops, 1.0, crop_of(120, 224), 5)


def test_the_warmest_cell_is_one_and_what_lies_below_the_middle_is_nought() -> None:
    drops = np.linspace(-3, 1, CELLS**2).reshape(CELLS, CELLS).astype(np.float32)
    shown = relative(heat(drops))
    assert shown.max() == shown[-1, -1] == 1.0
    assert (shown[:3] == 0).all()
    np.testing.assert_allclose(shown, relative(heat(drops - 7)), atol=1e-6)


def test_where_no_part_stands_out_nothing_is_coloured() -> None:
    even = np.full((CELLS, CELLS), -0.3, np.float32)
    even[2, 2] += FLATTEST / 2
    assert not relative(heat(even)).any()
    shown = picture_of(heat_jpeg(heat(even)))
    assert np.abs(shown.astype(int) - 120).max() < 6


def test_the_map_lies_over_the_crop_and_the_crop_beside_it() -> None:
    drops = np.zeros((CELLS, CELLS), np.float32)
    drops[1, 5] = 2.0
    shown = picture_of(heat_jpeg(heat(drops))).astype(int)
    half = shown.shape[1] // 2
    assert shown.shape == (448, 896, 3)
    assert np.abs(shown[:, half + 8 :] - 120).max() < 6
    spread = np.ptp(shown[:, :half], axis=2)
    assert np.unravel_index(spread.argmax(), spread.shape) == pytest.approx((96, 352), abs=48)
