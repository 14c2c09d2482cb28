"""The web application: routes, error lines and the guard around them."""

from __future__ import annotations

from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from stream.web.guard import MISTAKE, Guard
from stream.web.origins import Origins, own_names
from stream.web.routes.alerts import alerts
from stream.web.routes.health import health, probes
from stream.web.routes.live import live
from stream.web.routes.pages import pages
from stream.web.routes.people import people
from stream.web.routes.room import Room
from stream.web.routes.streams import streams

ROUTERS = (probes, people, streams, live, alerts, health, pages)
SNAPSHOTS_AT_ONCE = 8
LINES = {404: "there is nothing here: GET /api/v1/openapi.json lists what there is", 405: "not with this method"}
LONGEST_LINE = 300


def build_application(room: Room) -> FastAPI:
    """Routes and error lines, without the guard: nothing here is safe without it."""
    application = FastAPI(
        title="Unmask",
        version="1",
        summary="Streams, verdicts, alerts and their evidence.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    application.state.room, application.state.access = room, room.access
    application.state.watching = CapacityLimiter(room.config.clients_most + SNAPSHOTS_AT_ONCE)
    for router in ROUTERS:
        application.include_router(router)
    application.add_exception_handler(HTTPException, _refused)
    application.add_exception_handler(RequestValidationError, _misread)
    application.add_exception_handler(Exception, _failed)
    return application


def guarded(room: Room, application: ASGIApp) -> ASGIApp:
    config = room.config
    origins = Origins(own_names(config.names, config.host, is_loopback=config.is_loopback), config.is_loopback)
    return Guard(
        application,
        origins=origins,
        body_most_bytes=config.body_most_bytes,
        count=room.services.metrics.web_answered,
        insists_on_tls=config.tls is not None and not config.is_loopback,  # localhost has other servers, too
    )


async def _refused(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    line = str(error.detail) if isinstance(error, HTTPException) else ""
    headers = getattr(error, "headers", None)
    return JSONResponse({"error": LINES.get(status, line) if _is_plain(line) else line}, status, headers)


def _is_plain(line: str) -> bool:
    """Whether it is the library's own word, such as ``Not Found``: ours say what to do."""
    return line in ("Not Found", "Method Not Allowed", "")


async def _misread(_: Request, error: Exception) -> JSONResponse:
    """The first thing wrong, by its place and without its value: it might be a password."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    place, message = (found[0]["loc"], str(found[0]["msg"])) if found else ((), "cannot be read")
    where = ".".join(map(str, place[1:] or place))
    return JSONResponse({"error": f"{where}: {message.removeprefix('Value error, ')}"[:LONGEST_LINE]}, 422)


async def _failed(_: Request, __: Exception) -> JSONResponse:
    """The guard tells the log."""
    return JSONResponse({"error": MISTAKE}, 500)
