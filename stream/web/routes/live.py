"""What changes while it is looked at: verdicts, events, pictures and videos."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Annotated

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from stream.errors import UnmaskError
from stream.types import StreamName
from stream.web.access import Refusal, allowed_to
from stream.web.answers import SceneAnswer, SdpAnswer, alert_answer, scene_answer
from stream.web.endless import EndlessAnswer
from stream.web.ports import LiveVideo
from stream.web.routes.room import CHANGES, GUARDED, errors, room_of, router
from stream.web.scenes import Mail, SceneHub
from stream.web.users import Role

live = router()

Name = Annotated[str, Path(max_length=40, description="A stream's name.")]
BETWEEN_EVENTS_S = 0.2
"""At most five scenes of a stream a second."""
HEARTBEAT_S = 15.0
SNAPSHOT_WITHIN_S = 3.0
ANSWER_WITHIN_S = 10.0
BOUNDARY = "unmask-frame"
WITHOUT_HISTORY = {"faces": {"__all__": {"history"}}}
_END = object()


class SdpRequest(BaseModel):
    """A viewer's offer."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    sdp: str = Field(min_length=1, max_length=32 * 1024)


@live.get(
    "/verdicts",
    openapi_extra=allowed_to(Role.VIEWER),
    responses=GUARDED,
)
async def verdicts(request: Request) -> list[SceneAnswer]:
    """The newest of each stream, with each face's scores of the last minutes."""
    hub = room_of(request).services.hub
    return [scene_answer(told, hub) for told in hub.all_newest()]


@live.get(
    "/events",
    openapi_extra=allowed_to(Role.VIEWER),
    response_class=Response,
    responses=GUARDED | errors(503) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(request: Request) -> Response:
    """Server-sent events: `scene` (as in verdicts, without history), `alert`, and `streams` when their list changes."""
    room = room_of(request)
    return EndlessAnswer(
        request, Role.VIEWER, room.viewers, partial(_events, room.services.hub), "text/event-stream; charset=utf-8"
    )


@live.get(
    "/streams/{name}/snapshot.jpg",
    openapi_extra=allowed_to(Role.VIEWER),
    response_class=Response,
    responses=GUARDED | errors(404, 422, 503) | {200: {"content": {"image/jpeg": {}}}},
)
async def snapshot(name: Name, request: Request) -> Response:
    """The next picture with its overlay."""
    room = room_of(request)
    stream = room.known(name)
    jpeg = await run_sync(room.video.snapshot, stream, SNAPSHOT_WITHIN_S, limiter=_watching(request))
    if jpeg is None:
        raise Refusal(503, "the stream gives no picture now: its state says why")
    return Response(jpeg, media_type="image/jpeg")


@live.get(
    "/streams/{name}/video.mjpeg",
    openapi_extra=allowed_to(Role.VIEWER),
    response_class=Response,
    responses=GUARDED | errors(404, 422, 503) | {200: {"content": {"multipart/x-mixed-replace": {}}}},
)
async def mjpeg(
    name: Name, request: Request, fps: Annotated[float, Query(ge=0.2, le=30, allow_inf_nan=False)] = 10.0
) -> Response:
    """Live video with its overlay, picture by picture; a slow viewer misses some."""
    room = room_of(request)
    parts = partial(_pictures, room.video, room.known(name), fps, _watching(request))
    return EndlessAnswer(request, Role.VIEWER, room.viewers, parts, f"multipart/x-mixed-replace; boundary={BOUNDARY}")


@live.post(
    "/streams/{name}/webrtc",
    openapi_extra=allowed_to(Role.VIEWER),
    responses=CHANGES | errors(404, 503),
)
async def webrtc(name: Name, asked: SdpRequest, request: Request) -> SdpAnswer:
    """An answer, with all its candidates, to a viewer's offer."""
    room = room_of(request)
    stream, video = room.known(name), room.video
    if not room.has_webrtc:
        raise Refusal(503, "WebRTC is off or missing here: watch video.mjpeg instead")
    try:
        may_watch = partial(room.access.may_go_on, request, Role.VIEWER)
        sdp = await run_sync(video.answer, stream, asked.sdp, ANSWER_WITHIN_S, may_watch, limiter=_watching(request))
    except KeyError:
        raise Refusal(404, "the stream is gone") from None
    except UnmaskError as error:
        raise Refusal(503, str(error)) from None
    return SdpAnswer(sdp=sdp)


async def _events(hub: SceneHub) -> AsyncIterator[bytes]:
    """What is in the mailbox, at most every 0.2 s; a comment when there was nothing for long."""
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    with hub.listening(partial(_ring, loop, rung)) as box:
        yield b"retry: 2000\n\n"
        while not box.is_lost:
            with anyio.move_on_after(HEARTBEAT_S):
                await rung.wait()
            rung.clear()
            yield b"".join(_told(box.take())) or b": still here\n\n"
            await anyio.sleep(BETWEEN_EVENTS_S)


def _ring(loop: asyncio.AbstractEventLoop, rung: asyncio.Event) -> None:
    """From any thread."""
    try:
        loop.call_soon_threadsafe(rung.set)
    except RuntimeError:  # the server has closed meanwhile
        return


def _told(mail: Mail) -> Iterator[bytes]:
    yield from (_event("alert", alert_answer(alert).model_dump_json()) for alert in mail.alerts)
    if mail.streams_changed:
        yield _event("streams", "{}")
    yield from (_event("scene", scene_answer(told).model_dump_json(exclude=WITHOUT_HISTORY)) for told in mail.scenes)


def _event(kind: str, data: str) -> bytes:
    """``data``: one line."""
    return f"event: {kind}\ndata: {data}\n\n".encode()


async def _pictures(video: LiveVideo, stream: StreamName, fps: float, limiter: CapacityLimiter) -> AsyncIterator[bytes]:
    """Each picture ends with the next one's boundary: browsers show it when they see that."""
    watching = video.jpegs(stream, fps)
    try:
        pictures = await run_sync(watching.__enter__, limiter=limiter)
    except KeyError:  # it went a moment ago
        return
    try:
        yield f"--{BOUNDARY}\r\n".encode()
        while (jpeg := await run_sync(next, pictures, _END, limiter=limiter)) is not _END:
            if isinstance(jpeg, bytes):
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                yield head + jpeg + f"\r\n--{BOUNDARY}\r\n".encode()
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(watching.__exit__, None, None, None, limiter=CapacityLimiter(1))


def _watching(request: Request) -> CapacityLimiter:
    """A thread for each viewer, besides those that answer everything else."""
    limiter: CapacityLimiter = request.app.state.watching
    return limiter
