"""Logging in and out."""

from __future__ import annotations

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from stream.web.access import allowed_to, caller_of
from stream.web.answers import LoginAnswer, MeAnswer
from stream.web.routes.room import CHANGES, GUARDED, errors, room_of, router
from stream.web.users import LONGEST_PASSWORD, Role

people = router()


class LoginRequest(BaseModel):
    """A user's name and password."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    user: str = Field(min_length=1, max_length=40)
    password: SecretStr = Field(min_length=1, max_length=LONGEST_PASSWORD)


@people.post("/login", openapi_extra=allowed_to(None), responses=CHANGES | errors(409, 429))
async def log_in(asked: LoginRequest, request: Request, response: Response) -> LoginAnswer:
    """Log in with a password. Sets the session's cookie and `unmask_csrf`."""
    access = room_of(request).access
    address = request.client.host if request.client is not None else ""
    user, session_id = await access.log_in(address, asked.user, asked.password.get_secret_value())
    access.set_cookies(response, session_id)
    return LoginAnswer(user=user.name, role=user.role.word)


@people.post("/logout", status_code=204, openapi_extra=allowed_to(Role.VIEWER), responses=GUARDED)
async def log_out(request: Request, response: Response) -> None:
    """End this session; it is of no use any more, even to who has copied its cookie."""
    access, caller = room_of(request).access, caller_of(request)
    if caller.session_id is not None:
        access.sessions.end(caller.session_id)
    access.clear_cookies(response)


@people.get("/me", openapi_extra=allowed_to(None))
async def me(request: Request, response: Response) -> MeAnswer:
    """Who asks, and whether a login is needed."""
    access = room_of(request).access
    access.greet(request, response)
    caller = access.caller(request)
    return MeAnswer(
        user=caller.name if caller else None,
        role=caller.role.word if caller else None,
        login_required=access.login_required,
    )
