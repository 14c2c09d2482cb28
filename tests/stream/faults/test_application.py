"""What fails inside the application or at its far side: sinks, clients, inference, clocks. The video goes on."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.stream.sources.video_parts import Footprint, need_gst, wait_until

need_gst()

from bench.faulty_camera import FaultyCamera, picture  # noqa: E402
from engines.errors import InferenceError  # noqa: E402
from engines.runtime.ports import Array  # noqa: E402
from stream.config import StreamConfig  # noqa: E402
from stream.errors import ModelError  # noqa: E402
from stream.types import FaceBox, Frame, StreamState  # noqa: E402
from tests.fakes import FEATURES  # noqa: E402
from tests.stream.faults.rig import (  # noqa: E402
    BESIDE,
    CAMERA,
    CONNECTS_IN_S,
    RETRY,
    Model,
    beside,
    camera_at,
    check_beside_went_on,
    check_comes_back,
    check_no_window_spans,
    face_everywhere,
    watching,
)
from tests.stream.test_watch_process import Unmask, frames_in  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _what_is_made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("warm")
    outputs = {"restream": {"enabled": True, "port": 0}, "save": folder / "{name}.mp4"}
    with FaultyCamera(picture("black")) as camera, watching(camera_at(camera.url), beside(), **outputs) as run:
        run.await_scores()


@pytest.fixture(autouse=True)
def _nothing_is_left_over(_what_is_made_once: None) -> Iterator[None]:
    before = Footprint()
    yield
    before.check()


# Sinks and clients


def test_a_full_disk_ends_the_scores_and_not_the_watching() -> None:
    with watching(beside(), scores=Path("/dev/full")) as run:
        since_s = time.monotonic()
        run.await_scores(BESIDE, more=5)
        check_beside_went_on(run, since_s)
    assert run.result is not None
    assert run.result.exit_code == 5


def test_a_recording_that_may_not_grow_ends_alone() -> None:
    with watching(beside(), StreamConfig(source="test:snow", name=CAMERA, save=Path("/dev/full"))) as run:
        since_s = time.monotonic()
        run.await_scores(BESIDE, more=5)
        check_beside_went_on(run, since_s)
    assert run.result is not None
    assert run.result.exit_code == 5


@contextmanager
def playing_and_deaf(url: str) -> Iterator[socket.socket]:
    """An RTSP client that asks for everything over its one connection and reads none of it."""
    parts = urlsplit(url)
    client = socket.create_connection((parts.hostname, parts.port), timeout=30)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        _ask(client, "DESCRIBE", url, 1, "Accept: application/sdp")
        told = _ask(client, "SETUP", f"{url}/stream=0", 2, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        session = next(line for line in told.splitlines() if line.startswith("Session:")).partition(";")[0]
        _ask(client, "PLAY", url, 3, session)
        yield client
    finally:
        client.close()


def _ask(client: socket.socket, verb: str, url: str, number: int, header: str) -> str:
    client.sendall(f"{verb} {url} RTSP/1.0\r\nCSeq: {number}\r\n{header}\r\n\r\n".encode())
    answer = client.recv(65536).decode("latin-1")
    assert answer.startswith("RTSP/1.0 200"), answer
    return answer


def test_rtsp_clients_that_read_nothing_hold_nobody_up() -> None:
    with watching(beside(), restream={"enabled": True, "port": 0}) as run, ExitStack() as closing:
        assert run.started is not None
        (url,) = run.started.restream_urls
        run.await_scores(BESIDE)
        for _ in range(3):
            closing.enter_context(playing_and_deaf(url))
        since_s, drawn = time.monotonic(), len(run.witness.drawn_s[BESIDE])
        wait_until(lambda: len(run.witness.drawn_s[BESIDE]) > drawn + 90, "three seconds of drawn video")
        check_beside_went_on(run, since_s)
        with playing_and_deaf(url):
            pass
        began_s = time.monotonic()
        run.end()
        assert time.monotonic() - began_s < 20


def test_slow_scrapers_hold_up_neither_others_nor_the_end() -> None:
    with watching(beside()) as run, ExitStack() as closing:
        since_s = time.monotonic()
        port = urlsplit(run.metrics_url).port
        for words in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") * 5:
            slow = closing.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(words)
        run.await_scores(BESIDE, more=3)
        assert run.shows(StreamState.PLAYING, BESIDE)
        check_beside_went_on(run, since_s)
        began_s = time.monotonic()
        run.end()
        assert time.monotonic() - began_s < 20


# Inference


def test_inference_that_throws_now_and_then_is_counted_and_goes_on() -> None:
    calls = []

    def embed(crops: Array) -> Array:
        calls.append(1)
        if len(calls) % 3 == 0:
            raise InferenceError("the device was busy")
        return crops.mean((2, 3)).repeat(2, axis=1)[:, :FEATURES]

    with watching(beside(), model=Model(embed=embed)) as run:
        since_s = time.monotonic()
        run.await_scores(BESIDE, more=5)
        errors = run.metric("unmask_stream_frames_dropped_total", stream=BESIDE, stage="analysis", reason="error")
        failed = run.metric("unmask_inference_errors_total", model="scripted", backend="scripted")
        assert errors >= 1
        assert failed >= 1
        check_beside_went_on(run, since_s)


def test_inference_that_always_throws_ends_with_one_line() -> None:
    def embed(_: Array) -> Array:
        raise InferenceError("out of memory")

    with watching(beside(), model=Model(embed=embed)) as run:
        wait_until(lambda: run.failure is not None, "the end")
    assert isinstance(run.failure, ModelError)
    assert "25 times in a row: out of memory" in str(run.failure)


def test_inference_that_hangs_stops_no_video_and_spoils_no_window(tmp_path: Path) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def detect(frame: Frame) -> tuple[FaceBox, ...]:
        if hangs.is_set():
            goes_on.wait(60)
        return face_everywhere(frame)

    with FaultyCamera(picture("black")) as camera:
        save = str(tmp_path / "{name}.mp4")
        with watching(camera_at(camera.url), beside(), model=Model(detect=detect), save=save) as run:
            run.await_scores()
            since_s = time.monotonic()
            hangs.set()
            drawn = {name: len(run.witness.drawn_s[name]) for name in (CAMERA, BESIDE)}
            for name, count in drawn.items():
                wait_until(lambda n=name, c=count: len(run.witness.drawn_s[n]) > c + 60, "two seconds of drawn video")
            camera.launch(picture("white"))  # the camera is lost and comes back meanwhile
            wait_until(lambda: run.reconnects("eos") + run.reconnects("error") > 0, "the loss")
            wait_until(run.witness.is_playing, "the camera again")
            hangs.clear()
            goes_on.set()
            run.await_scores(more=3)
            check_no_window_spans(run)
            check_beside_went_on(run, since_s)


# Clocks, and the end


def jump_wall_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    told = time.time
    monkeypatch.setattr(time, "time", lambda: told() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: round((told() + seconds) * 1e9))


@pytest.mark.parametrize("seconds", [86_400.0, -86_400.0])
def test_a_wall_clock_that_jumps_moves_the_written_times_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    with FaultyCamera(picture("black")) as camera, watching(camera_at(camera.url), beside()) as run:
        run.await_scores()
        since_s = time.monotonic()
        jump_wall_clock(monkeypatch, seconds)
        run.await_scores(more=5)
        assert run.witness.reasons == []
        check_no_window_spans(run)
        check_beside_went_on(run, since_s)


@pytest.mark.parametrize("seconds", [86_400.0, -86_400.0])
def test_a_wall_clock_that_jumps_while_a_camera_is_waited_for_changes_no_wait(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    with FaultyCamera(picture("black")) as camera, watching(camera_at(camera.url), beside()) as run:
        run.await_scores()
        since_s = time.monotonic()
        camera.kill()
        wait_until(lambda: len(run.witness.lost_s[CAMERA]) >= 2, "the loss, and an attempt that fails")
        jump_wall_clock(monkeypatch, seconds)
        failed = len(run.witness.lost_s[CAMERA])
        wait_until(lambda: len(run.witness.lost_s[CAMERA]) >= failed + 3, "attempts as ever")
        waits_s = [after - before for before, after in pairwise(run.witness.lost_s[CAMERA][failed - 1 :])]
        assert min(waits_s) > 0.5 * RETRY.first_s, "it does not hammer the camera"
        assert max(waits_s) < RETRY.longest_s + CONNECTS_IN_S
        camera.start_again(picture("white"))
        check_comes_back(run, time.monotonic())
        assert run.shows(StreamState.PLAYING)
        check_beside_went_on(run, since_s)


@pytest.mark.timeout(300)
def test_sigterm_under_load_finishes_every_output(tmp_path: Path) -> None:
    with FaultyCamera(picture("ball")) as camera:
        names = ("one", "two", "three", "four")
        settings = {
            "streams": [{"source": camera.url, "name": name, "save": str(tmp_path / f"{name}.mp4")} for name in names],
            "scores": str(tmp_path / "scores.jsonl"),
            "restream": {"enabled": True, "port": 0},
            "display": False,
            "metrics": {"port": 0},
        }
        (tmp_path / "many.json").write_text(json.dumps(settings))  # JSON is YAML
        (tmp_path / "many.json").rename(tmp_path / "many.yaml")
        with Unmask(tmp_path, "watch", "--config", tmp_path / "many.yaml") as unmask:
            files = [tmp_path / f"{name}.mp4" for name in names]
            unmask.wait_for(lambda: all(file.exists() and file.stat().st_size for file in files), "four recordings")
            assert unmask.end(signal.SIGTERM) == 0, unmask.complained()
            assert not [line for line in unmask.complained() if "Traceback" in line or line.startswith("unmask: ")]
        assert all(frames_in(file) > 0 for file in files)
