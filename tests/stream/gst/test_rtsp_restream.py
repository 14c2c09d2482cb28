"""Real clients: FFmpeg's through OpenCV, and gst-launch's rtspsrc, which is stopped to play dead."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import cycle
from typing import Any

import cv2
import numpy as np
import pytest

from tests.stream.gst.drawing_parts import Scenes, need_gst, samples

need_gst()

from stream.errors import OutputError  # noqa: E402
from stream.gst import rtsp_clients, rtsp_restream  # noqa: E402
from stream.gst.output import OutputTargets, Restream, VideoOutput  # noqa: E402
from stream.gst.rtsp_restream import EVERYBODY, RestreamGuard  # noqa: E402
from stream.types import StreamName  # noqa: E402
from tests.fakes import ListObserver  # noqa: E402
from tests.stream.overlay.scenes import face_of, scene_of  # noqa: E402
from tests.stream.sources.video_parts import wait_until  # noqa: E402

WATCH_S = 60_000


class Camera:
    """Feeds a live output at about 30 frames a second until it is closed."""

    def __init__(self, name: str = "lobby", port: int = 0, scene: Any = None, guard: RestreamGuard = EVERYBODY) -> None:
        self.observer, self.errors = ListObserver(), list[OutputError]()
        targets = OutputTargets(restream=Restream(port=port, guard=guard))
        self.output = VideoOutput(
            StreamName(name),
            targets,
            Scenes(scene),
            is_live=True,
            observer=self.observer,
            on_error=self.errors.append,
        )
        self.pushed = 0
        self._frames = list(samples(60, 320, 240, pattern="black"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        for index, frame in enumerate(cycle(self._frames)):
            if self._stop.wait(1 / 30):
                return
            self.output.push(frame, index // len(self._frames))
            self.pushed += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.output.close()


@contextmanager
def camera(**options: Any) -> Iterator[Camera]:
    with closing(Camera(**options)) as opened:
        yield opened


def watch(url: str | None, frames: int) -> list[np.ndarray]:
    """What a client over TCP gets to see."""
    options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, WATCH_S, cv2.CAP_PROP_READ_TIMEOUT_MSEC, WATCH_S]
    client, seen = cv2.VideoCapture(str(url), cv2.CAP_FFMPEG, options), []
    while len(seen) < frames:
        more, frame = client.read()
        if not more:
            break
        seen.append(frame)
    client.release()
    return seen


def test_a_client_sees_the_drawn_video() -> None:
    with camera(scene=scene_of(face_of((90, 90, 190, 190)), captured_ns=0)) as lobby:
        assert str(lobby.output.url).startswith("rtsp://127.0.0.1:")
        assert str(lobby.output.url).endswith("/lobby")
        seen = watch(lobby.output.url, 5)
    assert [frame.shape for frame in seen] == [(240, 320, 3)] * 5
    red_less_blue = seen[-1][..., 2].astype(int) - seen[-1][..., 0]
    assert red_less_blue[80:200, 80:200].max() > 80
    assert lobby.errors == []


def test_clients_come_and_go_and_come_back() -> None:
    with camera() as lobby:
        assert [len(watch(lobby.output.url, 3)) for _ in range(4)] == [3] * 4


def encodes(camera: Camera) -> bool:
    """Whether pictures are encoded now."""
    encoding = camera.output._encoding
    assert encoding is not None
    return encoding.is_wanted


def test_live_video_is_drawn_and_encoded_only_while_a_client_plays() -> None:
    with camera() as lobby:
        wait_until(lambda: lobby.pushed > 10, "some frames")
        assert not encodes(lobby)
        assert lobby.observer.of("stage_took") == []
        line = ["gst-launch-1.0", "-q", "rtspsrc", f"location={lobby.output.url}", "protocols=tcp", "!", "fakesink"]
        client = subprocess.Popen(line)
        wait_until(lambda: encodes(lobby), "a client")
        assert len(watch(lobby.output.url, 5)) == 5
        assert encodes(lobby)
        assert ("lobby", "overlay") in {details[:2] for details in lobby.observer.of("stage_took")}
        client.terminate()
        client.wait()
        wait_until(lambda: not encodes(lobby), "the client's leave")
        assert len(watch(lobby.output.url, 5)) == 5
    assert lobby.errors == []


def test_several_clients_watch_at_once() -> None:
    with camera() as lobby:
        seen: list[int] = []
        clients = [threading.Thread(target=lambda: seen.append(len(watch(lobby.output.url, 10)))) for _ in range(3)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert seen == [10, 10, 10]


def test_a_client_that_hangs_blocks_nobody() -> None:
    with camera() as lobby:
        line = ["gst-launch-1.0", "-q", "rtspsrc", f"location={lobby.output.url}", "protocols=tcp", "!", "fakesink"]
        hanging = subprocess.Popen(line)
        try:
            assert watch(lobby.output.url, 5)
            hanging.send_signal(signal.SIGSTOP)
            before = lobby.pushed
            assert len(watch(lobby.output.url, 30)) == 30
            assert lobby.pushed > before + 15
        finally:
            hanging.kill()
            hanging.wait()
    assert lobby.errors == []


def test_two_streams_share_a_port() -> None:
    with camera(name="lobby") as lobby:
        port = int(str(lobby.output.url).split(":")[2].split("/")[0])
        with camera(name="door", port=port) as door:
            assert door.output.url == f"rtsp://127.0.0.1:{port}/door"
            assert len(watch(door.output.url, 3)) == 3
        assert len(watch(lobby.output.url, 3)) == 3


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OutputError, match="port is taken; choose another"):
            Camera(port=other.getsockname()[1])


def test_the_port_is_free_again_after_closing() -> None:
    with camera() as lobby:
        port = int(str(lobby.output.url).split(":")[2].split("/")[0])
        watch(lobby.output.url, 2)
    with camera(port=port) as again:
        assert len(watch(again.output.url, 2)) == 2


def test_a_client_over_udp_that_falls_silent_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stays open, as of a machine that lost its network; it neither reports nor says goodbye."""
    monkeypatch.setattr(rtsp_clients, "SWEEP_EVERY_S", 0.2)
    with camera() as lobby, playing_over_udp(str(lobby.output.url)):
        wait_until(lambda: encodes(lobby), "the client")
        sessions = server_of(lobby).get_session_pool()
        assert sessions.get_n_sessions() == 1
        monkeypatch.setattr(rtsp_restream, "ABOUT_TO_PLAY_S", 0.0)
        wait_until(lambda: expire_soon(sessions) == 0, "the session to be removed")
        wait_until(lambda: not encodes(lobby), "nobody to be encoded for")
        assert len(watch(lobby.output.url, 3)) == 3
    assert lobby.errors == []


def test_a_client_that_takes_nothing_for_long_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one whose machine has vanished: what it was sent is never acknowledged."""
    monkeypatch.setattr(rtsp_clients, "UNREAD_MS", 1000)
    with camera() as lobby, playing(str(lobby.output.url), "RTP/AVP/TCP;unicast;interleaved=0-1"):
        server = server_of(lobby)
        wait_until(lambda: server.client_filter(None) == [], "it to be hung up on")
        monkeypatch.setattr(rtsp_restream, "ABOUT_TO_PLAY_S", 0.0)
        wait_until(lambda: not encodes(lobby), "nobody to be encoded for")
    assert lobby.errors == []


def expire_soon(sessions: Any) -> int:
    """How many there are; they time out after a second."""
    found = sessions.filter(None)
    for session in found:
        session.set_property("timeout", 1)
        session.set_property("extra-timeout", 0)
    return len(found)


def server_of(camera: Camera) -> Any:
    port = int(str(camera.output.url).split(":")[2].split("/")[0])
    return rtsp_restream._SERVERS["127.0.0.1", port].server


@contextmanager
def playing_over_udp(url: str) -> Iterator[socket.socket]:
    with (
        udp_port() as rtp,
        udp_port() as rtcp,
        playing(url, f"RTP/AVP;unicast;client_port={rtp}-{rtcp}") as control,
    ):
        yield control


@contextmanager
def playing(url: str, transport: str) -> Iterator[socket.socket]:
    """A client that asks for everything and reads nothing more once it plays."""
    host, port = url.split("/")[2].split(":")
    with socket.socket() as control, control.makefile("rb") as answers:
        control.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        control.settimeout(20)
        control.connect((host, int(port)))

        def ask(method: str, at: str, *lines: str) -> dict[bytes, bytes]:
            control.sendall("\r\n".join([f"{method} {at} RTSP/1.0", "CSeq: 1", *lines, "", ""]).encode())
            assert answers.readline().startswith(b"RTSP/1.0 200"), method
            headers = dict(line.strip().split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
            answers.read(int(headers.get(b"Content-Length", 0)))
            return headers

        ask("DESCRIBE", url)
        session = ask("SETUP", f"{url}/stream=0", f"Transport: {transport}")[b"Session"].split(b";")[0].decode()
        ask("PLAY", url, f"Session: {session}")
        yield control


@contextmanager
def udp_port() -> Iterator[int]:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
