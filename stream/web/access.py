"""Who is asking, and whether that is enough: cookies, tokens, roles, and proof that the page itself is asking."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from stream.config_web import WebConfig
from stream.web.origins import SAFE
from stream.web.sessions import (
    TRIES_OF_A_USER,
    TRIES_OF_AN_ADDRESS,
    TRIES_WITHIN_S,
    FailureLimit,
    Sessions,
    address_key,
    new_session_id,
)
from stream.web.users import Role, User, UserBook

log = logging.getLogger(__name__)

CSRF_COOKIE = "unmask_csrf"
CSRF_HEADER = "X-CSRF-Token"
TOLD_EVERY_S = 60.0
LOGINS_AT_ONCE = 2
"""Each takes 64 MiB for a moment."""
ROLE_KEY = "x-role"
ANYBODY = "anybody"
LOG_IN = "log in first: POST /api/v1/login, or send a token as `Authorization: Bearer …`"
NO_CSRF = f"send the cookie {CSRF_COOKIE} as the header {CSRF_HEADER} too; GET /api/v1/me sets it"


class Refusal(HTTPException):
    """A request that is not met, with one line that says what to do."""

    def __init__(self, status: int, line: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, line, headers)


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str | None
    """None: somebody on this machine, where no users are configured."""
    role: Role
    session_id: str | None = None
    """None: a token was shown, or no cookie."""
    has_token: bool = False


class Access:
    """Lets in, or not. Safe from any thread."""

    def __init__(self, config: WebConfig, users: UserBook | None, clock: Callable[[], float] = time.monotonic) -> None:
        """``users``: None lets everybody be admin, which is for loopback only. ``clock``: monotonic seconds."""
        self._users, self._is_tls = users, config.tls is not None
        self.sessions = Sessions(config.session_idle_s, config.session_most_s, clock)
        self._of_address = FailureLimit(TRIES_OF_AN_ADDRESS, TRIES_WITHIN_S, clock)
        self._of_user = FailureLimit(TRIES_OF_A_USER, TRIES_WITHIN_S, clock)
        self._told = FailureLimit(1, TOLD_EVERY_S, clock)
        self._cookie = "__Host-unmask_session" if self._is_tls else "unmask_session"

    @property
    def login_required(self) -> bool:
        return self._users is not None

    @cached_property
    def _logins(self) -> CapacityLimiter:
        return CapacityLimiter(LOGINS_AT_ONCE)

    def caller(self, request: Request) -> Caller | None:
        """None: nobody who is known."""
        session_id = request.cookies.get(self._cookie)
        if self._users is None:
            return Caller(None, Role.ADMIN, session_id)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme:
            user = self._users.with_token(token.strip()) if scheme.lower() == "bearer" else None
            return None if user is None else Caller(user.name, user.role, has_token=True)
        name = self.sessions.user_name(session_id, self._users.user) if session_id else None
        user = self._users.user(name) if name is not None else None
        return None if user is None else Caller(user.name, user.role, session_id)

    def checked(self, request: Request, role: Role) -> Caller:
        """Raises Refusal when that is nobody, too little, or when another site may be asking in somebody's name."""
        caller = self.caller(request)
        if caller is None:
            self._tell_of_token(request)
            raise Refusal(401, LOG_IN, {"WWW-Authenticate": "Bearer"})
        if caller.role < role:
            raise Refusal(403, f"this needs the role {role.word}: ask an admin, or log in as somebody who has it")
        if request.method not in SAFE and not caller.has_token:
            self._check_csrf(request, caller)
        return caller

    def may_go_on(self, request: Request, role: Role) -> bool:
        """Whether who made this request may still see what it began; it is in use as long as that is asked."""
        try:
            self.checked(request, role)
        except Refusal:
            return False
        return True

    def _tell_of_token(self, request: Request) -> None:
        """A token that is nobody's, once a minute for each address: a client may try an old one for ever."""
        address = request.client.host if request.client is not None else ""
        if "authorization" in request.headers and self._told.wait_s(address_key(address)) == 0:
            self._told.tried(address_key(address))
            log.warning("a token from %s is nobody's", address)

    def _check_csrf(self, request: Request, caller: Caller) -> None:
        cookie, header = request.cookies.get(CSRF_COOKIE, ""), request.headers.get(CSRF_HEADER, "")
        if caller.session_id is None or not self.sessions.is_csrf_token(caller.session_id, cookie, header):
            raise Refusal(403, NO_CSRF)

    async def log_in(self, address: str, name: str, password: str) -> tuple[User, str]:
        """The user and a new session's id. Raises Refusal: 401, or 429 after too many tries; neither says which part
        was wrong, and both take as long.
        """
        if self._users is None:
            raise Refusal(409, "no users are configured: everybody on this machine is admin already")
        keys = (self._of_address, address_key(address)), (self._of_user, name)
        wait_s = max(limit.wait_s(key) for limit, key in keys)
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            raise Refusal(429, f"too many tries: wait {seconds} s", {"Retry-After": str(seconds)})
        for limit, key in keys:
            limit.tried(key)
        user = await run_sync(self._users.with_password, name, password, limiter=self._logins)
        if user is None:
            log.warning("a login from %s failed", address)  # not the name: people type passwords there
            raise Refusal(401, "wrong user or password: try again")
        for limit, key in keys:
            limit.worked(key)
        return user, self.sessions.begin(user)

    def set_cookies(self, response: Response, session_id: str) -> None:
        """The session's id, which no script may read, and its token against forged requests, which ours must."""
        common: dict[str, Any] = {"secure": self._is_tls, "samesite": "strict", "path": "/"}
        response.set_cookie(self._cookie, session_id, httponly=True, **common)
        response.set_cookie(CSRF_COOKIE, self.sessions.csrf_token(session_id), **common)

    def clear_cookies(self, response: Response) -> None:
        for name in (self._cookie, CSRF_COOKIE):
            response.delete_cookie(name, path="/", secure=self._is_tls, samesite="strict")

    def greet(self, request: Request, response: Response) -> None:
        """Where nobody logs in, a browser still gets a session, so that other sites cannot ask in its name."""
        if self._users is not None:
            return
        session_id = request.cookies.get(self._cookie) or new_session_id()
        if request.cookies.get(CSRF_COOKIE) != self.sessions.csrf_token(session_id):
            self.set_cookies(response, session_id)


class GuardedRoute(APIRoute):
    """Knows who may use it, and asks before the body is looked at. One that says nobody cannot be made."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner, word = super().get_route_handler(), (self.openapi_extra or {})[ROLE_KEY]

        async def handler(request: Request) -> Response:
            if word != ANYBODY:
                access: Access = request.app.state.access
                request.state.caller = access.checked(request, Role[word.upper()])
            return await inner(request)

        return handler


def allowed_to(role: Role | None) -> dict[str, str]:
    """For ``openapi_extra`` of a route; None: everybody."""
    return {ROLE_KEY: ANYBODY if role is None else role.word}


def caller_of(request: Request) -> Caller:
    """Of a request that a GuardedRoute let in."""
    found: Caller = request.state.caller
    return found
