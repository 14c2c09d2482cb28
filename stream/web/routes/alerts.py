"""Alerts and their evidence."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.responses import FileResponse

from stream.alerts.alert import AlertState
from stream.web.access import Refusal, allowed_to
from stream.web.answers import AlertAnswer, AlertWithEvidence, alert_answer, alert_with_evidence
from stream.web.routes.room import GUARDED, errors, room_of, router
from stream.web.users import Role

alerts = router()

Id = Annotated[str, Path(max_length=200, description="An alert's id.")]
MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".json": "application/json",
    ".jsonl": "text/plain",
    ".txt": "text/plain",
}
"""Of evidence; anything else is only saved, never shown."""
SHOWN = (".jpg", ".png", ".mp4", ".webm")
ALONE = {"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'"}
"""Whatever a file holds, it runs nothing."""


@alerts.get("/alerts", openapi_extra=allowed_to(Role.VIEWER), responses=GUARDED | errors(422))
def list_alerts(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[float | None, Query(allow_inf_nan=False, description="Began before; epoch seconds.")] = None,
    stream: Annotated[str | None, Query(max_length=40)] = None,
    state: AlertState | None = None,
) -> list[AlertAnswer]:
    """Newest first. The next page: `before` the last one's `began_at`."""
    return [alert_answer(alert) for alert in room_of(request).alerts.newest(limit, before, stream, state)]


@alerts.get("/alerts/{alert_id}", openapi_extra=allowed_to(Role.VIEWER), responses=GUARDED | errors(404, 422))
def one_alert(alert_id: Id, request: Request) -> AlertWithEvidence:
    """One alert and what was kept of it."""
    archive = room_of(request).alerts
    alert = archive.alert(alert_id)
    if alert is None:
        raise Refusal(404, "no alert has this id: GET /api/v1/alerts lists them")
    return alert_with_evidence(alert, archive.evidence(alert_id))


@alerts.get(
    "/alerts/{alert_id}/evidence/{file}",
    openapi_extra=allowed_to(Role.VIEWER),
    response_class=FileResponse,
    responses=GUARDED | errors(404, 422) | {200: {"content": {"application/octet-stream": {}}}},
)
def evidence_file(alert_id: Id, file: Annotated[str, Path(max_length=200)], request: Request) -> FileResponse:
    """A file that the alert's manifest names; parts of it by `Range`."""
    path = room_of(request).alerts.file(alert_id, file)
    if path is None:
        raise Refusal(404, "the alert's evidence holds no such file: GET the alert lists them")
    return FileResponse(
        path,
        media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        filename=path.name,
        content_disposition_type="inline" if path.suffix in SHOWN else "attachment",
        headers=ALONE | {"Cache-Control": "private, no-cache"},
    )
