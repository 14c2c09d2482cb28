"""What every request passes before anything looks at it, and what every answer carries."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping

import anyio
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream.web.origins import SAFE, Origins

log = logging.getLogger(__name__)

BODY_WITHIN_S = 20.0
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Nothing from other hosts, no script or style within a page's text, and no page around ours."""
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ONLY_TLS = "max-age=31536000"
"""A browser that was here once comes back by TLS alone, for a year."""
NO_STORE = "no-store"
MISTAKE = "something went wrong here: the log of unmask says what"


class Guard:
    """Around the application: refuses what was not meant for it or is too large, answers errors, counts."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        origins: Origins,
        body_most_bytes: int,
        count: Callable[[int], None],
        insists_on_tls: bool = False,
    ) -> None:
        """``count``: told the status of each answer. ``insists_on_tls``: browsers are told to use nothing else."""
        self._headers = HEADERS | ({"Strict-Transport-Security": ONLY_TLS} if insists_on_tls else {})
        self._app, self._origins, self._most, self._count = app, origins, body_most_bytes, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(send, self._count, self._headers)
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        if (line := self._origins.refusal(scope["method"], headers)) is not None:
            await refuse(answer, 403, line)
            return
        if scope["method"] not in SAFE:
            body = await self._body(headers, receive, answer)
            if body is None:
                return
            receive = _replayed(body, receive)
        await self._run(scope, receive, answer)

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._app(scope, receive, answer)
        except Exception:  # a mistake of ours: told in the log, and to the client without a word of it
            log.exception("the web page could not answer %s", scope["method"])
            if not answer.has_begun:
                await refuse(answer, 500, MISTAKE)

    async def _body(self, headers: dict[str, str], receive: Receive, answer: _Answer) -> bytes | None:
        """The whole body; None when it was refused or the client has left."""
        length = headers.get("content-length", "0")
        body = b""
        if not length.isdigit() or int(length) > self._most:
            await self._too_large(answer)
            return None
        with anyio.move_on_after(BODY_WITHIN_S) as within:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > self._most:
                    await self._too_large(answer)
                    return None
                if not message.get("more_body", False):
                    break
        if within.cancelled_caught:
            await refuse(answer, 408, f"the request did not arrive within {BODY_WITHIN_S:g} s: send it again")
            return None
        if body and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            await refuse(answer, 415, "send JSON, with the header Content-Type: application/json")
            return None
        return body

    async def _too_large(self, answer: _Answer) -> None:
        await refuse(answer, 413, f"a request holds at most {self._most} bytes: send less")


class _Answer:
    """A ``send`` that adds the headers and counts."""

    def __init__(self, send: Send, count: Callable[[int], None], headers: Mapping[str, str]) -> None:
        self._send, self._count, self._headers, self.has_begun = send, count, headers, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._count(message["status"])
            headers = MutableHeaders(scope=message)
            for key, value in self._headers.items():
                headers.setdefault(key, value)
            headers.setdefault("Cache-Control", NO_STORE)
        await self._send(message)


async def refuse(send: Send, status: int, line: str) -> None:
    """One line, and the end of the connection: what is left of the request is not read."""
    body = json.dumps({"error": line}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, and then what the server tells."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay
