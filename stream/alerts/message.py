"""An alert as JSON: what waits on disk, what sinks are sent, what the log keeps. docs/alerts.md explains the keys."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

from stream.alerts.alert import Alert, AlertJson, AlertState, alert_from_json, json_from_alert
from stream.alerts.rules import Now


def new_alert_id(now: Now) -> str:
    """24 hexadecimal digits that no other alert has; later ones sort later. Fit for file names and addresses."""
    return f"{max(0, round(now.wall_s * 1000)) % 16**12:012x}{secrets.token_hex(6)}"


def key_of(alert: Alert) -> str:
    """What receivers tell messages apart by: an alert has one when it fires and one when it resolves."""
    return f"{alert.id}-{alert.state.value}"


def json_of(alert: Alert) -> AlertJson:
    """As messages tell it: times to the millisecond, a probability to four digits."""
    probability = alert.fake_probability
    return {
        "id": alert.id,
        "state": alert.state.value,
        **json_from_alert(alert),
        "began_at": round(alert.began_at, 3),
        "changed_at": round(alert.changed_at, 3),
        "fake_probability": None if probability is None else round(float(probability), 4),
    }


def encoded(alert: Alert) -> bytes:
    return json.dumps(json_of(alert), ensure_ascii=False, allow_nan=False).encode()


def decoded(body: bytes) -> Alert:
    """Raises ValueError when it is not a whole message."""
    try:
        return alert_from_json(json.loads(body))
    except RecursionError as error:
        raise ValueError(f"not an alert: {type(error).__name__}") from error


def one_line(alert: Alert) -> str:
    """For the log and the terminal."""
    kept = f"; evidence: {alert.evidence}" if alert.evidence and alert.state is AlertState.FIRING else ""
    return f"alert {alert.state.value} ({alert.severity.value}, {alert.rule}): {alert.message}{kept}"


def ended(alert: Alert, wall_s: float, how: str) -> Alert:
    """The same alert, resolved: ``how`` it ended, then what it said, as what was so before."""
    said = alert.message.replace(" has ", " had ", 1)
    return replace(alert, state=AlertState.RESOLVED, changed_at=wall_s, message=f"{how}: {said}")
