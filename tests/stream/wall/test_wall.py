"""The wall as a run's sink: recorded, and read back tile by tile."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.stream.sources.video_parts import need_gst, sample_of, wait_until

need_gst()

from stream.app import watch  # noqa: E402
from stream.board import SceneBoard  # noqa: E402
from stream.config import AppConfig, StreamConfig  # noqa: E402
from stream.errors import OutputError, UsageError  # noqa: E402
from stream.types import StreamName, StreamState  # noqa: E402
from stream.wall.grid import grid  # noqa: E402
from stream.wall.mosaic import GAP_PX  # noqa: E402
from stream.wall.wall import Wall  # noqa: E402
from tests.stream.test_app import config, parts  # noqa: E402
from tests.stream.test_live_streams import Watching, snow, watching  # noqa: E402

SIZE = (640, 360)


def wall_config(tmp_path: Path, *sources: str, **more: object) -> AppConfig:
    wall = {"enabled": True, "save": tmp_path / "wall.mp4", "size": "640x360", "fps": 10, **more}
    return config(tmp_path, *sources, duration_s=600.0, wall=wall)


def pictures(video: Path) -> list[np.ndarray[Any, Any]]:
    """Luma of every frame."""
    capture, found = cv2.VideoCapture(str(video)), list[np.ndarray[Any, Any]]()
    while (read := capture.read())[0]:
        found.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY))
    return found


def tiles(picture: np.ndarray[Any, Any], count: int) -> list[np.ndarray[Any, Any]]:
    """A part of each tile, right of its middle, where nothing is drawn."""
    return [_part(picture[t.top : t.top + t.height, t.left : t.left + t.width]) for t in grid(count, SIZE, GAP_PX)]


def _part(tile: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    height, width = tile.shape
    return tile[height * 56 // 100 : height * 62 // 100, width * 85 // 100 : width * 95 // 100]


def test_two_cameras_are_seen_in_their_tiles_and_one_that_goes_leaves_the_other_the_room(tmp_path: Path) -> None:
    with watching(wall_config(tmp_path, "test:white", "test:black")) as run:
        run.plays(*run.now)
        wait_until(lambda: _boards_have_faces(run), "a face in both")
        time.sleep(0.5)
        run.streams.remove(list(run.now)[-1])
        time.sleep(0.5)
        run.plays(*run.now)
    seen = pictures(tmp_path / "wall.mp4")
    assert len(seen) >= 5
    assert seen[0].shape == (SIZE[1], SIZE[0])
    both = [[tile.mean() for tile in tiles(picture, 2)] for picture in seen]
    assert any(white > 200 and black < 60 for white, black in both)
    assert tiles(seen[-1], 1)[0].mean() > 200, "the white one alone, over the whole picture"


def _boards_have_faces(run: Watching) -> bool:
    return {scene.stream for scene in run.sink.scenes if scene.faces} >= set(run.now)


def test_the_wall_is_served_alone_when_the_streams_are_not(tmp_path: Path) -> None:
    asked = wall_config(tmp_path, "test:white", "test:white", save=None)
    served = {"restream": {"enabled": True, "port": _free_port()}, "defaults": {"restream": False}}
    asked = AppConfig.model_validate({**{key: getattr(asked, key) for key in AppConfig.model_fields}, **served})
    with watching(asked) as run:
        (url,) = run.restream_urls
        assert url.endswith("/wall")
        run.plays(*run.now)
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 30_000])
        assert any(_shows_two_white_tiles(capture.read()[1]) for _ in range(50))
        capture.release()


def _shows_two_white_tiles(bgr: np.ndarray[Any, Any]) -> bool:
    assert bgr.shape == (SIZE[1], SIZE[0], 3)
    return all(tile.mean() > 200 for tile in tiles(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), 2))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_stream_that_cannot_be_opened_has_its_tile(tmp_path: Path) -> None:
    with watching(wall_config(tmp_path, "test")) as run:
        wall = run.streams._shared.wall
        run.streams.add(StreamConfig(source=str(tmp_path / "none.mp4"), name="film"))
        assert wall is not None
        assert [tile.scene().state for tile in wall._tiles.values()][-1] is StreamState.FAILED
        run.streams.change(snow("film"))
        run.plays("film")
        assert list(wall._tiles) == ["test", "film"]
        assert wall._tiles[StreamName("film")].scene().state is StreamState.PLAYING


def test_a_wall_that_is_shown_nowhere_is_a_bad_request(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the wall would be shown nowhere"):
        watch(wall_config(tmp_path, "test", save=None), parts=parts())


class Output:
    """Keeps the time stamps of the pictures it is given, and fails when it is told to."""

    def __init__(self, fails: bool = False) -> None:
        self.pts_ns: list[int] = []
        self.fails = fails

    def push(self, sample: Any, segment: int) -> None:  # noqa: ARG002 - the protocol's signature
        if self.fails:
            raise ZeroDivisionError
        self.pts_ns.append(sample.get_buffer().pts)


def test_pictures_lie_on_a_grid_of_time_whatever_the_streams_do() -> None:
    output, errors = Output(), list[OutputError]()
    wall = Wall(output, (128, 128), 20.0, on_error=errors.append)
    tile = wall.hang(StreamName("cam"), SceneBoard())
    for frame in range(200):
        tile.push(sample_of(frame * 5_000_000), 0)
    wait_until(lambda: len(output.pts_ns) >= 5, "pictures")
    wall.close()
    assert not errors
    assert all(pts_ns % 50_000_000 == 0 for pts_ns in output.pts_ns)
    assert output.pts_ns == sorted(set(output.pts_ns))
    assert not [thread for thread in threading.enumerate() if thread.name == "wall"]


def test_a_wall_that_fails_says_so_once_and_its_taps_go_on() -> None:
    errors = list[OutputError]()
    wall = Wall(Output(fails=True), (128, 128), 20.0, on_error=errors.append)
    tile = wall.hang(StreamName("cam"), SceneBoard())
    wait_until(lambda: errors, "an error")
    tile.push(sample_of(0), 0)
    wall.close()
    assert [str(error) for error in errors] == ["the wall has stopped: ZeroDivisionError()"]
