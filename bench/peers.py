"""Peers that answer late, never, not at all, or under a name that nobody vouches for."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def refused_port() -> Iterator[int]:
    """Bound but not listening: nobody else gets the port, and it refuses."""
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deaf.bind(("127.0.0.1", 0))
        yield deaf.getsockname()[1]


class Mute:
    """Accepts, and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Mute:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


class Relay:
    """Passes everything on to a port of this machine; what comes back waits for ``answer_after_s`` at first."""

    def __init__(self, to_port: int, *, answer_after_s: float) -> None:
        self._to_port, self._answer_after_s = to_port, answer_after_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to_port))
                self._pairs += [near, far]
                self._start(_pass_on, near, far, 0.0)
                self._start(_pass_on, far, near, self._answer_after_s)

    def _start(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for one in self._pairs:
            one.close()


def _pass_on(source: socket.socket, target: socket.socket, wait_s: float) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            time.sleep(wait_s)
            wait_s = 0.0
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def write_certificate(folder: Path) -> Path | None:
    """A self-signed certificate with its key; None without the openssl command."""
    if shutil.which("openssl") is None:
        return None
    made, key = folder / "certificate.pem", folder / "key.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=somebody.else"]
    subprocess.run(["openssl", *words, "-keyout", key, "-out", made], check=True, capture_output=True)
    made.write_text(made.read_text() + key.read_text())
    return made
