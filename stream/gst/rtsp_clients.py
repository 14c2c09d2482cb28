"""Hanging up on the clients of an RTSP server of ours."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import gi

gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, GstRtspServer  # noqa: E402

GONE_WITHIN_S = 1.0
POLL_S = 0.005


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
    for socket in (connection.get_read_socket(), connection.get_write_socket()):
        with suppress(GLib.Error, AttributeError):  # it is at an end already: not connected, or none any more
            socket.shutdown(True, True)
    return GstRtspServer.RTSPFilterResult.KEEP
