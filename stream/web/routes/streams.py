"""Streams: listed, added, changed and removed while the run goes on."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from stream.config import StreamConfig
from stream.errors import TooManyStreamsError, UnmaskError, UsageError
from stream.live_streams import StreamStatus
from stream.web.access import Refusal, allowed_to, caller_of
from stream.web.answers import StreamAnswer, stream_answer
from stream.web.routes.room import CHANGES, GUARDED, Room, errors, refusal_of, room_of, router
from stream.web.source_guard import host_of, with_user_info, with_user_info_of
from stream.web.users import Role

log = logging.getLogger(__name__)

streams = router()

Name = Annotated[str, Path(max_length=40, description="A stream's name.")]
NO_USER: dict[str, None] = dict.fromkeys(("user", "user_env"))
NO_PASSWORD: dict[str, None] = dict.fromkeys(("password_env", "password_file"))
NO_SECRETS = NO_USER | NO_PASSWORD
"""Said outright, or else the configuration's ``defaults`` would send its password to whatever host was asked for."""


class StreamChange(BaseModel):
    """What is not given stays as it is."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    source: str | None = Field(default=None, min_length=1, max_length=2048, repr=False, examples=["rtsp://10.0.0.7/a"])
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")
    user: str | None = Field(default=None, max_length=256, repr=False)
    password: SecretStr | None = Field(default=None, max_length=256, description="Never told again.")
    priority: Literal["high", "normal", "low"] | None = None
    sample_every: int | None = Field(default=None, ge=1, le=100)
    transport: Literal["tcp", "udp"] | None = None

    def settings(self) -> dict[str, Any]:
        """Those that are no address."""
        given = {"priority": self.priority, "sample_every": self.sample_every, "transport": self.transport}
        return {key: value for key, value in given.items() if value is not None}

    def secrets(self) -> tuple[str | None, str | None]:
        return self.user, None if self.password is None else self.password.get_secret_value()


class StreamRequest(StreamChange):
    """A source to watch."""

    source: str = Field(min_length=1, max_length=2048, repr=False, examples=["rtsp://10.0.0.7/stream1"])


@streams.get("/streams", openapi_extra=allowed_to(Role.VIEWER), responses=GUARDED)
async def list_streams(request: Request) -> list[StreamAnswer]:
    """Every stream, in the order they came."""
    room = room_of(request)
    return [_answer(room, status) for status in room.services.streams.list()]


@streams.post("/streams", status_code=201, openapi_extra=allowed_to(Role.OPERATOR), responses=CHANGES | errors(409))
def add_stream(asked: StreamRequest, request: Request) -> StreamAnswer:
    """Watch one more. It answers once the stream is opened; a camera that does not answer yet is tried for ever."""
    room = room_of(request)
    if asked.name in {status.name for status in room.services.streams.list()}:
        raise Refusal(409, f"a stream is named {asked.name} already: choose another name, or PATCH that one")
    try:
        source = with_user_info(room.guard.checked(asked.source), *asked.secrets())
        named = {} if asked.name is None else {"name": asked.name}
        stream = _stream({"source": source, **named, **NO_SECRETS, **asked.settings()})
        status = room.services.streams.add(stream, room.config.streams_most)
    except TooManyStreamsError as error:
        raise refusal_of(error, 409) from None
    except UnmaskError as error:
        raise refusal_of(error) from None
    _tell(request, "added", status.name)
    return _answer(room, status)


@streams.patch("/streams/{name}", openapi_extra=allowed_to(Role.OPERATOR), responses=CHANGES | errors(404))
def change_stream(name: Name, asked: StreamChange, request: Request) -> StreamAnswer:
    """Open a stream anew as it is described now; what is not given stays. Its name stays, too."""
    room = room_of(request)
    before = room.services.streams.described(room.known(name))
    if before is None:
        raise Refusal(404, "no stream has this name: GET /api/v1/streams lists them")
    if asked.name not in (None, name):
        raise Refusal(422, "a stream keeps its name: remove it and add one of the other name")
    try:
        status = room.services.streams.change(_changed(room, before, asked))
    except UnmaskError as error:
        raise refusal_of(error) from None
    _tell(request, "changed", status.name)
    return _answer(room, status)


@streams.delete(
    "/streams/{name}", status_code=204, openapi_extra=allowed_to(Role.OPERATOR), responses=GUARDED | errors(404, 422)
)
def remove_stream(name: Name, request: Request) -> None:
    """Watch it no more: its recording is finished."""
    room = room_of(request)
    known = room.known(name)
    try:
        room.services.streams.remove(known)
    except UnmaskError as error:
        raise refusal_of(error) from None
    _tell(request, "removed", known)


def _changed(room: Room, before: StreamConfig, asked: StreamChange) -> StreamConfig:
    """What was is kept, but for user and password where the source is another one: they belong to the old host."""
    values: dict[str, Any] = {key: getattr(before, key) for key in before.model_fields_set}
    user, password = asked.secrets()
    if asked.source is not None:
        source = room.guard.checked(asked.source)
        is_elsewhere = host_of(before.source) not in (host_of(asked.source), host_of(source))
        kept = (
            {**NO_SECRETS, "source": source} if is_elsewhere else {"source": with_user_info_of(source, before.source)}
        )
        values.update(kept)
    if user is not None or password is not None:
        if "://" not in values["source"]:
            raise UsageError("this source takes no user or password: only network cameras do")
        values.update({} if user is None else NO_USER)
        values.update({} if password is None else NO_PASSWORD)
        values["source"] = with_user_info(values["source"], user, password)
    return _stream({**values, **asked.settings()})


def _stream(values: dict[str, Any]) -> StreamConfig:
    try:
        return StreamConfig(**values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def _answer(room: Room, status: StreamStatus) -> StreamAnswer:
    services = room.services
    return stream_answer(
        status,
        services.streams.described(status.name),
        services.hub.newest(status.name),
        mjpeg=services.video is not None,
        webrtc=room.has_webrtc,
    )


def _tell(request: Request, verb: str, name: str) -> None:
    """For whoever must know later who did it."""
    room_of(request).services.hub.streams_changed()
    who = caller_of(request).name or "somebody on this machine"
    log.warning("stream %s was %s over the web by %s", name, verb, who)
