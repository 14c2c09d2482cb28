"""Every kind of source through its door: real pipelines, real cameras that are killed, frozen and locked."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.stream.sources.video_parts import (
    CameraProcess,
    Footprint,
    Tap,
    clip,
    need_gst,
    refusal_of_a_wrong_path,
    wait_until,
)

need_gst()

from stream.errors import MissingPartError, SourceError  # noqa: E402
from stream.sources.file import FileSource  # noqa: E402
from stream.sources.live import LiveSource, RetryPolicy  # noqa: E402
from stream.sources.open import open_source  # noqa: E402
from stream.sources.uri import parse_source  # noqa: E402
from stream.types import Frame, StreamName, StreamState  # noqa: E402
from tests.fakes import ListObserver  # noqa: E402

NAME = StreamName("s")
QUICK = RetryPolicy(first_s=0.05, longest_s=0.2, stalled_after_s=2.0, first_frame_within_s=30.0)


class Watched:
    """An open source that is closed at the block's end."""

    def __init__(self, text: str, **login: Any) -> None:
        self.observer, self.tap = ListObserver(), Tap()
        uri = parse_source(text, **login)
        self.source = open_source(NAME, uri, observer=self.observer, video=self.tap, retry=QUICK)

    @property
    def live(self) -> LiveSource:
        assert isinstance(self.source, LiveSource)
        return self.source

    def frame(self) -> Frame:
        """The next one; its pixels must not be looked at any more."""
        found: list[Frame] = []

        def look() -> bool:
            frame = self.source.read(0.2)
            if frame is not None:
                frame.release()
                found.append(frame)
            return bool(found)

        wait_until(look, "a frame")
        return found[0]

    def reasons(self) -> set[str]:
        return {reason for _, reason in self.observer.of("reconnected")}

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()


def test_a_test_pattern_is_live_and_raw() -> None:
    with Watched("test") as watched:
        frame = watched.frame()
        assert (frame.planes.width, frame.planes.height) == (1280, 720)
        assert watched.source.is_live
        assert watched.source.decoder == "none (raw video)"
    assert watched.source.state is StreamState.ENDED


def test_drops_of_a_slow_reader_add_up() -> None:
    with Watched("test") as watched:
        read = 0
        for _ in range(3):
            watched.frame()
            read += 1
            seen = len(watched.tap.seen)
            wait_until(lambda seen=seen: len(watched.tap.seen) >= seen + 5, "five more frames on the video")
    dropped = len(watched.observer.of("frame_dropped"))
    arrived = len(watched.observer.of("frame_arrived"))
    assert dropped >= 8
    assert arrived - read - dropped in (0, 1)
    assert len(watched.tap.seen) == arrived


def test_an_rtsp_camera_is_decoded_and_timed() -> None:
    with CameraProcess("test") as camera, Watched(camera.url) as watched:
        watched.frame()
        wait_until(lambda: len(watched.observer.of("stage_took")) > 10, "decode times")
        assert watched.source.decoder not in ("", "none (raw video)")
        assert watched.source.state is StreamState.PLAYING
        assert {stage for _, stage, _ in watched.observer.of("stage_took")} == {"decode"}


def test_a_camera_is_found_over_udp_too() -> None:
    with CameraProcess("test") as camera, Watched(camera.url, transport="udp") as watched:
        assert watched.frame().planes.width == 640


def test_a_killed_camera_comes_back_in_a_new_segment() -> None:
    with CameraProcess("test") as camera, Watched(camera.url) as watched:
        first = watched.frame()
        port = camera.url.split(":")[2].split("/")[0]
        camera.kill()
        wait_until(lambda: watched.source.state is StreamState.RECONNECTING, "the loss")
        with CameraProcess("test", "--port", port):
            wait_until(lambda: watched.source.state is StreamState.PLAYING, "the camera again")
            wait_until(lambda: watched.frame().segment > first.segment, "a frame of a new segment")
        assert watched.reasons() & {"eos", "error", "refused"}


def test_a_frozen_camera_is_noticed_by_its_silence() -> None:
    with CameraProcess("test") as camera, Watched(camera.url) as watched:
        watched.frame()
        camera.freeze()
        wait_until(lambda: "stalled" in watched.reasons(), "the watchdog")
        assert watched.live.last_error is not None
        camera.thaw()
        wait_until(lambda: watched.source.state is StreamState.PLAYING, "the camera again")
        wait_until(lambda: watched.frame().segment >= 1, "a frame of a new segment")


def test_a_camera_that_is_absent_at_start_is_no_error() -> None:
    with CameraProcess("test") as earlier:
        url = earlier.url
    with Watched(url) as watched:
        wait_until(lambda: watched.reasons() == {"refused"}, "the refusal")
        assert "nothing answers" in (watched.live.last_error or "")
        with CameraProcess("test", "--port", url.split(":")[2].split("/")[0]):
            assert watched.frame().segment == 0
            assert watched.live.last_error is None


def test_a_wrong_password_is_told_without_it_and_the_right_one_plays() -> None:
    login = ("test", "--user", "guard", "--password-env", "CAMERA_PASSWORD")
    with CameraProcess(*login, environment={"CAMERA_PASSWORD": "p@ss/w:rd"}) as camera:
        with Watched(camera.url, user="guard", password="Zq7") as wrong:
            wait_until(lambda: wrong.reasons() == {"unauthorized"}, "the refusal")
            assert "password" in (wrong.live.last_error or "")
            assert "Zq7" not in (wrong.live.last_error or "")
        with Watched(camera.url.replace("//", "//guard:p%40ss%2Fw%3Ard@")) as right:
            assert right.frame().planes.width == 640


def test_a_wrong_path_is_not_found() -> None:
    with CameraProcess("test") as camera, Watched(camera.url + "-elsewhere") as watched:
        wait_until(lambda: watched.reasons() == {refusal_of_a_wrong_path()}, "the refusal")


def test_an_absent_webcam_is_tried_again() -> None:
    with Watched("/dev/video99") as watched:
        wait_until(lambda: watched.reasons() == {"not_found"}, "the error")
        assert "/dev/video99" in (watched.live.last_error or "")
        assert watched.source.state is StreamState.RECONNECTING


def test_a_screen_without_a_desktop_is_a_missing_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingPartError):
        Watched("screen")


class _QuietServer(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/locked"):
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server with ``a.mp4``."""
    clip(tmp_path / "a.mp4", frames=20)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietServer, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_download_is_read_like_a_file(web: str) -> None:
    with Watched(f"{web}/a.mp4?token=Zq7") as watched:
        assert isinstance(watched.source, FileSource)
        for index in range(20):
            assert round(watched.frame().pts_ns * 30 / 1e9) == index
        wait_until(lambda: watched.source.read(0.1) is None and watched.source.state is StreamState.ENDED, "the end")


@pytest.mark.parametrize(("path", "reason"), [("absent.mp4", "not_found"), ("locked.mp4", "unauthorized")])
def test_a_download_that_fails_says_why(web: str, path: str, reason: str) -> None:
    with Watched(f"{web}/{path}?token=Zq7") as watched:
        with pytest.raises(SourceError) as caught:
            watched.frame()
        assert caught.value.reason == reason
        assert "Zq7" not in str(caught.value)


def test_a_web_server_that_is_not_there_refuses() -> None:
    with Watched("http://127.0.0.1:9/a.mp4") as watched, pytest.raises(SourceError) as caught:
        watched.frame()
    assert caught.value.reason == "refused"


def test_twenty_sources_leave_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", frames=5)

    def once(text: str) -> None:
        with Watched(text) as watched:
            watched.frame()

    for text in ("test", str(path)):
        once(text)
    before = Footprint()
    for text in ("test", str(path)) * 10:
        once(text)
    before.check()
