"""The HTTP server: uvicorn on a thread of its own, with deadlines for clients that do not come to the point."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from stream.config_section import is_loopback
from stream.config_web import is_everywhere
from stream.errors import PageAddressError
from stream.web.sessions import address_key

log = logging.getLogger(__name__)

CONNECTIONS_MOST = 256
CONNECTIONS_OF_AN_ADDRESS = 64
"""Of another machine: it cannot take all of them."""
REQUEST_WITHIN_S = 10.0
"""For a request's head, from the first byte or the connection on."""
KEPT_ALIVE_S = 15
UNSENT_MS = 30_000
"""After so long without a client taking anything its connection is cut off."""
HEAD_MOST_BYTES = 16 * 1024
STOP_WITHIN_S = 2
LONGEST_STOP_S = 10.0
CLOSED = -1
"""The descriptor of a socket that has none any more."""


class WebServer:
    """Listens from the start, answers from ``start`` until ``close``."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Raises OutputError when it cannot listen there."""
        self._socket = _listening(host, port)
        self._tls, self._host = tls, host
        self.port = int(self._socket.getsockname()[1])
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where this machine is asked by its name, if it listens everywhere."""
        name = socket.gethostname() if is_everywhere(self._host) else self._host
        host = f"[{name}]" if ":" in name else name
        return f"{'https' if self._tls is not None else 'http'}://{host}:{self.port}/"

    def start(
        self, application: ASGIApp, work: Callable[[], Coroutine[Any, Any, None]], stop: Callable[[], None]
    ) -> None:
        """``work`` runs beside the answers; ``stop`` is called on the server's thread when the end begins."""
        config = uvicorn.Config(
            application,
            loop="asyncio",
            http=_HurriedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEPT_ALIVE_S,
            timeout_graceful_shutdown=STOP_WITHIN_S,
            h11_max_incomplete_event_size=HEAD_MOST_BYTES,
        )
        config.load()
        config.ssl = self._tls
        self._server = _Server(config, work, stop)
        self._thread = threading.Thread(target=self._serve, args=(self._server,), name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send everybody away and wait for the thread; a second call does nothing."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(LONGEST_STOP_S)
        self._socket.close()

    def _serve(self, server: _Server) -> None:
        try:
            server.run(sockets=[self._socket])
        except Exception:  # top of the thread: the page is gone, the video goes on
            log.exception("the web page has ended; watching goes on without it")


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, work: Callable[[], Coroutine[Any, Any, None]], stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._work, self._stop = work, stop

    async def main_loop(self) -> None:
        beside = asyncio.create_task(self._work())
        try:
            await super().main_loop()
        finally:
            beside.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nobody is waited for: those who watch are sent away, and whoever does not go is cut off."""
        self._stop()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _HurriedProtocol(H11Protocol):
    """A client that opens a connection and says nothing, or speaks ever so slowly, is hung up on."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._hurry()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._hurry()
        else:
            self._calm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def _hurry(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_WITHIN_S, self._hang_up)

    def _calm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hang_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()


class _Listener(socket.socket):
    """Hangs up on who is one too many before anything is spent on him: descriptors are the cameras', too."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._accepted: list[tuple[str, socket.socket]] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError when there is nobody, or nobody who is let in."""
        connection, address = super().accept()
        self._accepted = [(key, other) for key, other in self._accepted if other.fileno() != CLOSED]
        key = address_key(str(address[0]))
        if is_one_too_many(key, [other for other, _ in self._accepted]):
            connection.close()
            raise BlockingIOError
        self._accepted.append((key, connection))
        return connection, address


def is_one_too_many(address: str, connected: Sequence[str]) -> bool:
    """Whether another connection from there is not wanted; ``connected``: where those that there are come from."""
    if len(connected) >= CONNECTIONS_MOST:
        return True
    return not is_loopback(address) and connected.count(address) >= CONNECTIONS_OF_AN_ADDRESS


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = _Listener(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise PageAddressError(
            f"cannot serve the page on {host} ({_reason(error)}): give an address of this machine"
        ) from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit it
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_MS)
        opened.bind(address)
        opened.listen(128)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise PageAddressError(
            f"cannot serve the page on {host}:{port} ({_reason(error)}): choose another port with --web {host}:PORT"
        ) from None
    return opened


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
