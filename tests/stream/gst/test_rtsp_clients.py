"""Hanging up while clients talk, thousands of times: the server's threads must come to rest."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.stream.gst.drawing_parts import need_gst

need_gst()

from stream.gst.mainloop import LoopThread  # noqa: E402
from stream.gst.rtsp_clients import GstRtspServer, hang_up, keep_swept, shut, tune  # noqa: E402
from tests.stream.sources.video_parts import wait_until  # noqa: E402

QUESTION = b"OPTIONS rtsp://127.0.0.1/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"


@contextmanager
def server(threads: int) -> Iterator[Any]:
    loop, serving = LoopThread("server"), GstRtspServer.RTSPServer()
    serving.set_address("127.0.0.1")
    serving.set_service("0")
    serving.get_thread_pool().set_max_threads(threads)
    serving.attach(loop.context)
    yield serving
    loop.stop()


def client(serving: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", serving.get_bound_port()), timeout=5)


def ask_on(serving: Any, stop: threading.Event) -> None:
    """Somebody who asks and asks, and comes back."""
    while not stop.is_set():
        with suppress(OSError), client(serving) as asking:
            asking.sendall(QUESTION)
            while asking.recv(1000) and not stop.is_set():
                asking.sendall(QUESTION)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_whoever_is_hung_up_on_reads_an_end(threads: int) -> None:
    with server(threads) as serving, client(serving) as silent, client(serving) as asking:
        asking.sendall(QUESTION)
        assert asking.recv(1000).startswith(b"RTSP/1.0 200")
        wait_until(lambda: len(serving.client_filter(None)) == 2, "both clients to be known")
        hang_up(serving)
        assert (silent.recv(1), asking.recv(1)) == (b"", b"")
        assert serving.client_filter(None) == []


def test_a_server_without_clients_has_nobody_to_hang_up_on() -> None:
    with server(1) as serving:
        began_s = time.monotonic()
        hang_up(serving)
        assert time.monotonic() - began_s < 0.5


def test_hanging_up_while_clients_ask_leaves_no_thread_that_reads_nothing() -> None:
    """GLib's complaint of one would end that process."""
    told = subprocess.run(
        [sys.executable, "-c", "from tests.stream.gst.test_rtsp_clients import hang_up_often; hang_up_often()"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (told.returncode, told.stdout.strip(), told.stderr) == (0, "0 left", "")


def hang_up_often(seconds: float = 2.0) -> None:
    from gi.repository import GLib

    GLib.log_set_always_fatal(GLib.LogLevelFlags.LEVEL_CRITICAL)
    stop = threading.Event()
    with server(4) as serving:
        asking = [threading.Thread(target=ask_on, args=(serving, stop)) for _ in range(4)]
        for thread in asking:
            thread.start()
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            hang_up(serving)
            time.sleep(0.005)
        stop.set()
        for thread in asking:
            thread.join()
        hang_up(serving)
        print(len(serving.client_filter(None)), "left")


def test_pictures_are_sent_at_once_and_a_client_whose_machine_vanished_is_noticed() -> None:
    known: list[Any] = []
    with server(1) as serving:
        serving.connect("client-connected", lambda server, client: (tune(server, client), known.append(client)))
        with client(serving):
            wait_until(lambda: len(known) == 1, "the client")
            ours = known.pop().get_connection().get_read_socket()
            assert ours.get_option(socket.IPPROTO_TCP, socket.TCP_NODELAY)[1] == 1, "pictures wait for nobody"
            assert ours.get_keepalive()
            idle_s, every_s, probes, unread_ms = (
                ours.get_option(socket.IPPROTO_TCP, option)[1]
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            )
            assert idle_s + every_s * probes <= 60
            assert 0 < unread_ms <= 60_000


def test_a_server_that_is_shut_lets_nobody_in_and_leaves_no_thread() -> None:
    loop, serving = LoopThread("shut"), GstRtspServer.RTSPServer()
    serving.set_address("127.0.0.1")
    serving.set_service("0")
    sources = (serving.attach(loop.context), keep_swept(serving, loop))
    port = serving.get_bound_port()
    with client(serving) as known:
        wait_until(lambda: len(serving.client_filter(None)) == 1, "the client")
        shut(serving, loop, *sources)
        assert known.recv(1) == b""
    assert [loop.context.find_source_by_id(source) for source in sources] == [None, None]
    assert "shut" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_what_is_done_again_and_again_survives_its_own_mistakes(caplog: pytest.LogCaptureFixture) -> None:
    loop, done = LoopThread("every"), list[int]()

    def work() -> None:
        done.append(1)
        raise ZeroDivisionError("a bug")

    loop.every(0.01, work)
    wait_until(lambda: len(done) >= 3, "it to go on")
    loop.stop()
    assert "a bug" in caplog.text


def test_a_loop_that_is_stopped_at_once_ends() -> None:
    """However its thread and the one that stops it take turns."""
    for _ in range(200):
        LoopThread("short-lived").stop()
    assert "short-lived" not in {thread.name for thread in threading.enumerate()}
