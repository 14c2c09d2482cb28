"""Whether it lives, whether it can be relied on, what it counts, and how its machine is."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

from stream.release import release
from stream.web.access import allowed_to
from stream.web.answers import Alive, EngineAnswer, HealthAnswer, ReadyAnswer, ThresholdsAnswer, condition_answers
from stream.web.routes.room import GUARDED, room_of, router
from stream.web.users import Role

STRANGERS = "log in to read why"
"""It names streams."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

probes = router(is_prefixed=False)
health = router()
_BEGAN = time.monotonic()


@probes.get("/healthz", openapi_extra=allowed_to(None))
async def alive() -> Alive:
    """Whether the server answers."""
    return Alive()


@probes.get(
    "/readyz", openapi_extra=allowed_to(None), responses={503: {"model": ReadyAnswer, "description": "Not ready"}}
)
async def ready(request: Request, response: Response) -> ReadyAnswer:
    """Whether streams are known, engines loaded and canaries right; 503 when not. Why is told to who is logged in."""
    room = room_of(request)
    readiness, is_known = room.services.readiness, room.access.caller(request) is not None
    is_ready, conditions = readiness.is_ready, readiness.conditions
    response.status_code = 200 if is_ready else 503
    told = conditions if is_known else [replace(condition, why=STRANGERS) for condition in conditions]
    return ReadyAnswer(ready=is_ready, conditions=condition_answers(told))


@probes.get(
    "/metrics",
    openapi_extra=allowed_to(Role.VIEWER),
    response_class=PlainTextResponse,
    responses=GUARDED | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request) -> Response:
    """What Prometheus reads; it logs in with a token."""
    return Response(room_of(request).services.metrics.scrape(), media_type=METRICS_TYPE)


@health.get("/health", openapi_extra=allowed_to(Role.VIEWER), responses=GUARDED)
def machine_health(request: Request) -> HealthAnswer:
    """How the machine and the engines are."""
    room = room_of(request)
    services = room.services
    return HealthAnswer(
        version=release(),
        uptime_s=round(time.monotonic() - _BEGAN, 1),
        ready=services.readiness.is_ready,
        machine=room.machine.look(services.board()),
        engines=[
            EngineAnswer(
                stage=engine.stage,
                model=engine.model,
                backend=engine.backend,
                precision=engine.precision,
                why=engine.why,
                fallen_back=engine.has_fallen_back,
            )
            for engine in services.engines()
        ],
        thresholds=services.thresholds and _thresholds(*services.thresholds),
        conditions=condition_answers(services.readiness.conditions),
        clients=room.watching,
    )


@health.get("/openapi.json", openapi_extra=allowed_to(Role.VIEWER), responses=GUARDED)
async def description(request: Request) -> dict[str, Any]:
    """This description."""
    found: dict[str, Any] = request.app.openapi()
    return found


def _thresholds(real_at: float, fake_at: float) -> ThresholdsAnswer:
    return ThresholdsAnswer(real_at=real_at, fake_at=fake_at)
