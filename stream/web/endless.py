"""Answers without an end: events and videos, until the client leaves, may see no more, or the server closes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stream.web.access import Access
from stream.web.guard import refuse
from stream.web.users import Role

LOOK_S = 5.0
"""How often it is asked whether whoever watches still may: it also keeps the login alive."""
LAST_WORD_S = 1.0
"""For the end of an answer; a client that does not even take that is cut off."""


class Viewers:
    """How many watch. Used by the server's own thread only, but for ``count``."""

    def __init__(self, most: int) -> None:
        self._most, self._scopes = most, set[anyio.CancelScope]()
        self._is_closed = False

    @property
    def count(self) -> int:
        return len(self._scopes)

    def enter(self, scope: anyio.CancelScope) -> bool:
        """Whether there was room."""
        if self._is_closed or self.count >= self._most:
            return False
        self._scopes.add(scope)
        return True

    def leave(self, scope: anyio.CancelScope) -> None:
        self._scopes.discard(scope)

    def close(self) -> None:
        """Send all away, and let nobody in."""
        self._is_closed = True
        for scope in tuple(self._scopes):
            scope.cancel()


class EndlessAnswer(Response):
    """Streams what ``parts`` yields."""

    def __init__(
        self, request: Request, role: Role, viewers: Viewers, parts: Callable[[], AsyncIterator[bytes]], media_type: str
    ) -> None:
        """``role``: what it takes to go on watching. ``parts`` is called once there is room."""
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self.headers["X-Accel-Buffering"] = "no"  # or a proxy in front would keep it until there is more
        self._request, self._role, self._viewers, self._parts = request, role, viewers, parts
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        async with anyio.create_task_group() as group:
            if not self._viewers.enter(group.cancel_scope):
                await refuse(send, 503, "too many are watching: close another page, or raise web.clients_most")
                return
            try:
                group.start_soon(self._until_gone, receive, group.cancel_scope)
                group.start_soon(self._while_allowed, group.cancel_scope)
                await self._stream(send)
                group.cancel_scope.cancel()
            finally:
                self._viewers.leave(group.cancel_scope)
        if self._has_begun:
            with anyio.move_on_after(LAST_WORD_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await refuse(send, 404, "there is nothing to watch any more: look at the list of streams")

    async def _stream(self, send: Send) -> None:
        """The answer begins with its first part: from then on nothing is missed."""
        async with aclosing(self._parts()) as parts:  # type: ignore[type-var]
            async for part in parts:
                if not self._has_begun:
                    self._has_begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _until_gone(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _while_allowed(self, scope: anyio.CancelScope) -> None:
        access: Access = self._request.app.state.access
        while access.may_go_on(self._request, self._role):
            await anyio.sleep(LOOK_S)
        scope.cancel()
