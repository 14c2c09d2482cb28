from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.stream.sources.video_parts import (
    CameraProcess,
    clip,
    encoded,
    need_gst,
    play,
    refusal_of_a_wrong_path,
    wait_until,
)

need_gst()

from stream.errors import OutputError, SourceError, UsageError  # noqa: E402
from stream.gst.camera import CameraOptions, RtspCamera, main  # noqa: E402
from stream.gst.faults import END, Fault  # noqa: E402
from stream.gst.launch import source_launch  # noqa: E402
from stream.gst.session import GstSession, element_exists  # noqa: E402
from stream.sources.uri import parse_source  # noqa: E402


class Viewer:
    """Counts the frames of a camera, and their times."""

    def __init__(self, url: str, **login: str) -> None:
        self.times_ns: list[int] = []
        launch = source_launch(parse_source(url, **login), element_exists, {})  # type: ignore[arg-type]
        self._session = GstSession(launch, on_sample=lambda sample: self.times_ns.append(sample.get_buffer().pts))
        self._session.start()

    def fault(self) -> Fault:
        faults: list[Fault] = []
        wait_until(lambda: faults or faults.extend(filter(None, [self._session.fault()])), "the stream's end")
        return faults[0]

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.stop()


def test_a_pattern_can_be_watched() -> None:
    with RtspCamera(None) as camera, Viewer(camera.url) as viewer:
        wait_until(lambda: len(viewer.times_ns) > 20, "20 frames")
        assert viewer.times_ns == sorted(viewer.times_ns)


def test_a_clip_starts_with_its_first_viewer_and_starts_again_at_its_end(tmp_path: Path) -> None:
    short = clip(tmp_path / "a.mp4", frames=20)
    with RtspCamera(short) as camera, Viewer(camera.url) as viewer:
        wait_until(lambda: len(viewer.times_ns) > 50, "more frames than the clip has")
        assert viewer.times_ns == sorted(viewer.times_ns)


def test_a_clip_that_is_played_once_ends(tmp_path: Path) -> None:
    short = clip(tmp_path / "a.mp4", frames=20)
    with RtspCamera(short, CameraOptions(loops=False)) as camera, Viewer(camera.url) as viewer:
        assert viewer.fault() == END
        assert 10 < len(viewer.times_ns) <= 20


def test_a_clip_in_another_codec_is_encoded_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    raw = "video/x-raw,width=160,height=120"
    play(f"videotestsrc num-buffers=30 ! {raw} ! jpegenc ! matroskamux ! filesink location={path}")
    with RtspCamera(path) as camera, Viewer(camera.url) as viewer:
        wait_until(lambda: len(viewer.times_ns) > 5, "frames")


def test_a_clip_with_sound_sends_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    sound = "audiotestsrc num-buffers=40 ! avenc_aac ! mux."
    play(f"{sound} {encoded(20, 160, 120)} ! mp4mux name=mux ! filesink location={path}")
    with RtspCamera(path) as camera, Viewer(camera.url) as viewer:
        wait_until(lambda: len(viewer.times_ns) > 5, "frames")


def test_two_viewers_can_watch() -> None:
    with RtspCamera(None) as camera, Viewer(camera.url) as one, Viewer(camera.url) as two:
        wait_until(lambda: one.times_ns and two.times_ns, "frames on both")


def test_a_camera_with_a_password_wants_it() -> None:
    options = CameraOptions(user="us er", password="p@s:s/ w")
    with RtspCamera(None, options) as camera:
        assert "us" not in camera.url.partition("://")[2].partition(":")[0]
        with Viewer(camera.url) as stranger:
            assert stranger.fault().reason == "unauthorized"
        with Viewer(camera.url, user="us er", password="wrong") as guesser:
            assert guesser.fault().reason == "unauthorized"
        with Viewer(camera.url, user="us er", password="p@s:s/ w") as friend:
            wait_until(lambda: friend.times_ns, "a frame")


def test_another_path_is_not_found() -> None:
    with RtspCamera(None) as camera, Viewer(camera.url + "-elsewhere") as viewer:
        assert viewer.fault().reason == refusal_of_a_wrong_path()


def test_a_closed_camera_refuses() -> None:
    with RtspCamera(None) as camera:
        url = camera.url
    with Viewer(url) as viewer:
        assert viewer.fault().reason == "refused"


def test_a_taken_port_is_told_in_one_line() -> None:
    with RtspCamera(None) as camera:
        port = int(camera.url.split(":")[2].split("/")[0])
        with pytest.raises(OutputError, match=f"{port}: the port is taken"):
            RtspCamera(None, CameraOptions(port=port))


@pytest.mark.parametrize("content", [None, b"no video" * 100])
def test_a_bad_clip_is_told_before_anything_is_served(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"bad\.mp4"):
        RtspCamera(path)


def test_a_clip_of_sound_only_is_no_camera(tmp_path: Path) -> None:
    play(f"audiotestsrc num-buffers=40 ! avenc_aac ! mp4mux ! filesink location={tmp_path / 'a.mp4'}")
    with pytest.raises(SourceError, match="no video"):
        RtspCamera(tmp_path / "a.mp4")


def test_the_command_prints_its_address_and_ends_on_sigterm() -> None:
    with CameraProcess("test", "--path", "/door") as camera:
        assert camera.url.startswith("rtsp://127.0.0.1:")
        assert camera.url.endswith("/door")
        camera.process.send_signal(signal.SIGTERM)
        assert camera.process.wait(60) == 0


def test_the_command_wants_user_and_password_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_SUCH_PASSWORD", raising=False)
    assert main(["test", "--user", "a", "--password-env", "NO_SUCH_PASSWORD"]) == UsageError.exit_code
    assert "--password-env" in capsys.readouterr().err
