"""Real receivers that tests start, kill and start again, all on loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 60.0


def wait_until(is_so: Callable[[], Any], what: str) -> None:
    """Fails the test when it does not become so in a long time."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass(frozen=True)
class Post:
    """What came with one request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class WebReceiver:
    """A web server that keeps what it is sent; it may die and come back on its port."""

    def __init__(self, *, status: int = 204, headers: Mapping[str, str] | None = None) -> None:
        self.posts: list[Post] = []
        """Those that were answered."""
        self.status, self.headers, self.pause = status, dict(headers or {}), threading.Event()
        self.pause.set()
        """Cleared: no request is answered."""
        self.asked = 0
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=s3cret"

    @property
    def keys(self) -> list[str]:
        return [f"{post.json['id']}-{post.json['state']}" for post in self.posts]

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.answer(self)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        post = Post(request.path, dict(request.headers), request.rfile.read(int(request.headers["Content-Length"])))
        self.pause.wait(PATIENCE_S)
        self.posts.append(post)
        request.send_response(self.status)
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()

    def die(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> WebReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause.set()
        self.die()


@contextmanager
def running(program: str, *words: str | Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ready when its port answers; skips the test where it is not installed."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{program} is missing: tools/setup.sh test installs it")
    process = subprocess.Popen([found, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port) or process.poll() is not None, f"{program} to answer")
        assert process.poll() is None, f"{program} ended with {process.returncode}"
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def certificate_of(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this machine, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt install openssl")
    key, made = folder / "key.pem", folder / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", *words, *names, "-keyout", key, "-out", made], check=True, capture_output=True)
    return made, key
