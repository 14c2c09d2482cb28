"""What the handlers of one server share, and what they say of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request

from stream.config_web import WebConfig
from stream.errors import UnmaskError
from stream.live_streams import StreamStatus
from stream.types import StreamName
from stream.web.access import Access, GuardedRoute, Refusal
from stream.web.answers import PREFIX, ErrorAnswer
from stream.web.endless import Viewers
from stream.web.machine import Machine
from stream.web.ports import AlertArchive, LiveVideo
from stream.web.services import WebServices
from stream.web.source_guard import SourceGuard

WORDS = {
    400: "The request cannot be read",
    401: "Nobody has logged in",
    403: "The role is too small, or the token against forged requests is missing",
    404: "There is none of that name",
    409: "It is there already",
    413: "Too large",
    415: "Not JSON",
    422: "Something in the request is wrong",
    429: "Too many tries",
    503: "Not now",
}


@dataclass(frozen=True)
class Room:
    """Everything that handlers use; reached through ``room_of``."""

    config: WebConfig
    services: WebServices
    access: Access
    alerts: AlertArchive
    guard: SourceGuard
    viewers: Viewers
    machine: Machine

    @property
    def video(self) -> LiveVideo:
        """Raises Refusal where there is none."""
        if self.services.video is None:
            raise Refusal(503, "this run shows no live video: look at the log for what is missing")
        return self.services.video

    @property
    def has_webrtc(self) -> bool:
        video = self.services.video
        return video is not None and self.config.video != "mjpeg" and video.has_webrtc

    @property
    def watching(self) -> int:
        """Viewers of videos, whichever way they come, and listeners to events."""
        video = self.services.video
        return self.viewers.count + (0 if video is None else video.peers)

    def stream(self, name: str) -> StreamStatus:
        """Raises Refusal when there is none of this name."""
        for status in self.services.streams.list():
            if status.name == name:
                return status
        raise Refusal(404, "no stream has this name: GET /api/v1/streams lists them")

    def known(self, name: str) -> StreamName:
        return self.stream(name).name


def room_of(request: Request) -> Room:
    room: Room = request.app.state.room
    return room


def router(*, is_prefixed: bool = True) -> APIRouter:
    return APIRouter(prefix=PREFIX if is_prefixed else "", route_class=GuardedRoute)


ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses`` of a route: JSON, whatever kind of file it answers otherwise."""
    return {status: {"description": WORDS[status], "content": ERROR} for status in statuses}


GUARDED = errors(401, 403)
CHANGES = errors(400, 401, 403, 413, 415) | {422: {"description": WORDS[422], "model": ErrorAnswer}}
"""The model stands here once, so that the description defines what ``ERROR`` refers to."""


def refusal_of(error: UnmaskError, status: int = 422) -> Refusal:
    """An error of the run, which is one line without secrets already."""
    return Refusal(status, str(error))
