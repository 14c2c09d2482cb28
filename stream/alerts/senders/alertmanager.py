"""Alerts to Prometheus' Alertmanager, or to anything that speaks its API (version 2, ``postableAlerts``).

Alertmanager forgets an alert that is not told again: those that fire are repeated, each with an end a little ahead, so
that they resolve by themselves when this program is gone.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from typing import Any

from stream.alerts.alert import Alert, AlertState
from stream.alerts.message import key_of
from stream.alerts.senders.http_post import HttpPost
from stream.types import StreamName

REPEAT_S = 60.0
LASTS_REPEATS = 4
"""How many repeats may be missed before an alert resolves by itself: as Prometheus itself has it."""
MOST_FIRING = 1000


class AlertmanagerSender:
    """Remembers what fires, to say it again."""

    def __init__(
        self, post: HttpPost, *, repeat_s: float = REPEAT_S, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """``post``: to ``…/api/v2/alerts``."""
        self.refresh_s: float | None = repeat_s
        self._post, self._wall_clock = post, wall_clock
        self._lasts_s = LASTS_REPEATS * repeat_s
        self._firing: OrderedDict[str, Alert] = OrderedDict()

    def send(self, alert: Alert) -> None:
        self._tell([alert], {"Idempotency-Key": key_of(alert)})
        self._firing.pop(alert.id, None)
        if alert.state is AlertState.FIRING:
            self._firing[alert.id] = alert
        if len(self._firing) > MOST_FIRING:
            self._firing.popitem(last=False)

    def refresh(self, streams: Collection[StreamName]) -> None:  # noqa: ARG002 - the protocol's signature
        if self._firing:
            self._tell([*self._firing.values()], {})

    def close(self) -> None:
        """Nothing is open."""

    def _tell(self, alerts: Sequence[Alert], headers: dict[str, str]) -> None:
        lasts_until_s = self._wall_clock() + self._lasts_s
        self._post(json.dumps([postable(alert, lasts_until_s) for alert in alerts]).encode(), headers)


def postable(alert: Alert, lasts_until_s: float) -> dict[str, Any]:
    """One of Alertmanager's ``postableAlerts``; labels tell alerts apart, annotations tell people.

    ``lasts_until_s``: wall time at which one that fires ends by itself.
    """
    labels = {
        "alertname": alert.rule,
        "kind": alert.kind.value,
        "severity": alert.severity.value,
        "stream": alert.stream,
        "track": "" if alert.track_id is None else str(alert.track_id),
    }
    annotations = {
        "summary": alert.message,
        "id": alert.id,
        "fake_probability": "" if alert.fake_probability is None else f"{alert.fake_probability:.4f}",
        "model": alert.model,
        "backend": alert.backend,
        "evidence": alert.evidence or "",
    }
    return {
        "labels": {key: value for key, value in labels.items() if value},
        "annotations": {key: value for key, value in annotations.items() if value},
        "startsAt": _rfc3339(alert.began_at),
        "endsAt": _rfc3339(lasts_until_s if alert.state is AlertState.FIRING else alert.changed_at),
    }


def _rfc3339(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="milliseconds")
