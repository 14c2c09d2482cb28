"""The page itself: files that came with the package, known by name before anybody asks. No path is ever looked up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import Request, Response
from fastapi.params import Path as InPath

from stream.web.access import Refusal, allowed_to
from stream.web.routes.room import errors, room_of, router

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""Other kinds of files are not served."""
STATIC = Path(__file__).parents[1] / "static"
INDEX = "index.html"
NO_PAGE = b"<!doctype html><title>Unmask</title><p>This build has no page; its API is at /api/v1/openapi.json.</p>"

pages = router(is_prefixed=False)


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    media_type: str
    tag: str


@cache
def assets() -> Mapping[str, Asset]:
    """By path below ``static/``, with slashes."""
    found = {path.relative_to(STATIC).as_posix(): path for path in sorted(STATIC.rglob("*")) if _is_served(path)}
    return {INDEX: _asset(INDEX, NO_PAGE)} | {name: _asset(name, path.read_bytes()) for name, path in found.items()}


@pages.get("/", openapi_extra=allowed_to(None), response_class=Response, include_in_schema=False)
async def page(request: Request) -> Response:
    """The page; it asks who is there, and for a login where one is needed."""
    response = _served(request, INDEX)
    room_of(request).access.greet(request, response)
    return response


@pages.get(
    "/static/{name:path}",
    openapi_extra=allowed_to(None),
    response_class=Response,
    responses=errors(404),
    include_in_schema=False,
)
async def static(name: Annotated[str, InPath(max_length=200)], request: Request) -> Response:
    """A file of the page."""
    return _served(request, name)


def _served(request: Request, name: str) -> Response:
    asset = assets().get(name)
    if asset is None:
        raise Refusal(404, "the page has no such file")
    headers = {"ETag": asset.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)


def _is_served(path: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(STATIC).parts)
    return path.is_file() and not is_hidden and path.suffix.lower() in MEDIA_TYPES


def _asset(name: str, content: bytes) -> Asset:
    return Asset(content, MEDIA_TYPES[Path(name).suffix.lower()], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
