"""The clients of an RTSP server of ours: sending in time, noticing that they have vanished, and hanging up on them."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

import gi

gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, GstRtspServer  # noqa: E402

from stream.gst.mainloop import LoopThread  # noqa: E402

GONE_WITHIN_S = 1.0
POLL_S = 0.005
SWEEP_EVERY_S = 5.0
"""How often sessions that have expired are removed: the server does not do so by itself."""
SILENT_S, PROBE_EVERY_S, PROBES = 30, 10, 3
"""A peer that is silent for so long is probed, and given up when so many probes are not answered."""
UNREAD_MS = 60_000
"""How long what was sent may wait to be taken; probes don't go out meanwhile."""


def keep_swept(server: Any, loop: LoopThread, every_s: float | None = None) -> int:
    """Remove sessions that have expired, again and again: without it a client that vanished is played to for ever.

    Returns the id of the source on ``loop``.
    """
    return loop.every(SWEEP_EVERY_S if every_s is None else every_s, server.get_session_pool().cleanup)


def tune(_server: Any, client: Any) -> None:
    """A handler of the server's ``client-connected``.

    Pictures go out when they are written: left to Nagle, the end of one in a hundred waits 40 ms for the client to
    acknowledge its beginning. And a client whose machine is gone says no goodbye: its connection ends all the same.
    """
    options = (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS),
    )
    with suppress(GLib.Error, AttributeError):  # it has gone already
        connected = client.get_connection().get_read_socket()
        connected.set_keepalive(True)
        for option in options:
            connected.set_option(*option)


def shut(server: Any, loop: LoopThread, *source_ids: int) -> None:
    """Let nobody in any more, hang up on everybody, and end the loop.

    ``source_ids``: of the listening socket and whatever else runs on ``loop`` for the server. They go first, and on the
    loop's own thread: it may be busy with them.
    """
    loop.remove(*source_ids)
    hang_up(server)
    loop.stop()


def hang_up(server: Any) -> None:
    """End every client's connection, and wait up to ``GONE_WITHIN_S`` for the server to have noticed.

    From any thread. Each client is served by a thread of the server's, which must be the one to close: a client that
    another thread removes while its own reads leaves that thread reading nothing, for ever, at the cost of a core. So
    the sockets are shut down, and their threads find them at an end.
    """
    server.client_filter(_shut_down)
    deadline = time.monotonic() + GONE_WITHIN_S
    while server.client_filter(None) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _shut_down(_server: Any, client: Any) -> Any:
    connection = client.get_connection()
    for end in (connection.get_read_socket(), connection.get_write_socket()):
        with suppress(GLib.Error, AttributeError):  # it is at an end already: not connected, or none any more
            end.shutdown(True, True)
    return GstRtspServer.RTSPFilterResult.KEEP
