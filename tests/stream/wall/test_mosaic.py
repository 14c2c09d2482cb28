"""What a wall's picture shows: pixels of tiles, read back."""

from __future__ import annotations

import numpy as np
import pytest

from engines.preprocess import Planes
from stream.overlay.palette import LOOKS, STATE_COLOURS, yuv_from_rgb
from stream.types import FaceScore, Scene, StreamName, StreamState, TrackId, Verdict
from stream.wall.grid import Tile, grid
from stream.wall.mosaic import GAP_PX, Mosaic, View, part_of, planes_of, shrunk

SIZE = (640, 360)
NOW = 1_000_000_000


def flat(luma: int, *, width: int = 320, height: int = 180, nv12: bool = False) -> Planes:
    y, half = np.full((height, width), luma, np.uint8), (height // 2, width // 2)
    u, v = np.full(half, 90, np.uint8), np.full(half, 170, np.uint8)
    return Planes(y, (np.stack([u, v], -1),) if nv12 else (u, v))


def face(verdict: Verdict, track_id: int = 1) -> FaceScore:
    return FaceScore(TrackId(track_id), (120.0, 60.0, 180.0, 120.0), verdict, 0.9)


def scene(name: str, *verdicts: Verdict, state: StreamState = StreamState.PLAYING) -> Scene:
    faces = tuple(face(verdict, number) for number, verdict in enumerate(verdicts))
    return Scene(StreamName(name), faces, captured_ns=NOW, state=state, frame_wh=(320, 180))


def tiles_of(*views: View) -> list[Planes]:
    picture = planes_of(Mosaic(SIZE).compose(views, NOW))
    return [part_of(picture, tile) for tile in grid(len(views), SIZE, GAP_PX)]


def spot(tile: Planes) -> tuple[int, int, int]:
    """Y, U, V of a spot right of the middle, where nothing is drawn."""
    row, column = round(tile.height * 0.6), round(tile.width * 0.9)
    return int(tile.y[row, column]), *(int(plane[row // 2, column // 2]) for plane in tile.chroma)  # type: ignore[return-value]


def border(tile: Planes) -> tuple[int, int, int]:
    """Y, U, V of the line around it, on the left."""
    row = tile.height // 2
    return int(tile.y[row, 1]), *(int(plane[row // 2, 0]) for plane in tile.chroma)  # type: ignore[return-value]


@pytest.mark.parametrize("nv12", [False, True])
def test_each_stream_is_in_its_own_tile_in_order(nv12: bool) -> None:
    lumas = [40, 90, 140, 200]
    views = [View(scene(f"cam{luma}"), flat(luma, nv12=nv12)) for luma in lumas]
    assert [spot(tile) for tile in tiles_of(*views)] == [(luma, 90, 170) for luma in lumas]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_line_around_a_tile_is_the_gravest_verdict(verdict: Verdict) -> None:
    (tile,) = tiles_of(View(scene("cam", Verdict.WARMING_UP, verdict), flat(100)))
    assert border(tile) == yuv_from_rgb(LOOKS[verdict].rgb, "bt601", False)


def test_a_calm_tile_has_no_line() -> None:
    (tile,) = tiles_of(View(scene("cam"), flat(100)))
    assert border(tile)[0] in (16, 100)


@pytest.mark.parametrize("state", [state for state in StreamState if state is not StreamState.PLAYING])
def test_a_stream_that_does_not_play_is_dimmed_and_says_why(state: StreamState) -> None:
    lost, plays = tiles_of(View(scene("lost", state=state), flat(200)), View(scene("plays"), flat(200)))
    assert spot(lost)[0] == pytest.approx(16 + 0.4 * (200 - 16), abs=1)
    assert spot(plays)[0] == 200
    assert border(lost) == yuv_from_rgb(STATE_COLOURS[state], "bt601", False)
    words = lost.y[lost.height // 2 - 8 : lost.height // 2 + 8]
    assert words.max() > 180, "no word in the middle"


def test_a_stream_that_never_played_has_a_tile_too() -> None:
    (tile,) = tiles_of(View(scene("new", state=StreamState.FAILED), None))
    assert spot(tile) == (16, 128, 128)


def test_a_picture_of_another_shape_is_letterboxed() -> None:
    (tile,) = tiles_of(View(scene("tall"), flat(150, width=90, height=180)))
    assert tile.y[tile.height // 2, 20] == 16
    assert tile.y[round(tile.height * 0.6), tile.width // 2] == 150


def test_the_grid_follows_the_number_of_streams() -> None:
    mosaic = Mosaic(SIZE)
    one = mosaic.compose([View(scene("a"), flat(200))], NOW)
    four = mosaic.compose([View(scene(name), flat(200)) for name in "abcd"], NOW)
    assert (planes_of(one).y == 200).sum() > (planes_of(four).y[: SIZE[1] // 2, : SIZE[0] // 2] == 200).sum() * 2
    assert (mosaic.compose([], NOW)[: SIZE[1]] < 40).all()


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1919, 1079), (3840, 2160), (97, 55), (16, 16)])
def test_shrinking_keeps_what_is_where(width: int, height: int) -> None:
    ramp = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    small = shrunk(ramp, (80, 44))
    assert small.shape == (44, 80)
    wanted = np.linspace(0, 255, 81)[:-1] + 255 / 160
    assert np.abs(small[20].astype(float) - wanted).max() < max(8, 300 / width + 300 / 80)


def test_part_of_a_picture_is_a_view() -> None:
    picture = np.zeros((54, 64), np.uint8)
    part = part_of(planes_of(picture), Tile(8, 4, 16, 8))
    part.y[...], part.chroma[1][...] = 9, 7
    assert ((picture == 9).sum(), (picture == 7).sum()) == (16 * 8, 8 * 4)
