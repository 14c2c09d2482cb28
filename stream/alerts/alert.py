"""What wakes somebody: the values that rules make, senders carry and the page shows; and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Protocol

from stream.types import StreamName, TrackId

AlertJson = dict[str, str | int | float | None]


class AlertState(str, Enum):
    """Where an alert is in its life."""

    FIRING = "firing"
    RESOLVED = "resolved"


class AlertKind(str, Enum):
    """What a rule looks at: a closed set, fit for metric labels."""

    FAKE = "fake"
    PROBABILITY = "probability"
    NO_FACE = "no_face"
    STREAM_DOWN = "stream_down"
    CANARY = "canary"
    TEST = "test"
    """Sent to try a sink, by no rule; never counted in a metric."""


class Severity(str, Enum):
    """How loudly to tell of it."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Alert:
    """One firing of one rule; its resolution is the same alert, by id, in another state. Holds no secrets."""

    id: str
    """Unique for each firing; receivers drop what they have seen by ``id`` and ``state``."""
    rule: str
    """Its name in the configuration."""
    kind: AlertKind
    severity: Severity
    state: AlertState
    stream: StreamName
    """Empty: of the whole service."""
    track_id: TrackId | None
    """The face it is about, if it is about one."""
    began_at: float
    """Wall time, seconds since the epoch: when it fired."""
    changed_at: float
    """Wall time of the newest change of state."""
    fake_probability: float | None
    """Of the window that made it fire; None where none was scored."""
    message: str
    """One line for people."""
    model: str = ""
    backend: str = ""
    evidence: str | None = None
    """Name of its folder below the evidence folder; None when nothing was kept."""


def json_from_alert(alert: Alert) -> AlertJson:
    """All of it, by its fields' names, nothing rounded."""
    return {name: value.value if isinstance(value, Enum) else value for name, value in asdict(alert).items()}


def alert_from_json(said: Mapping[str, Any]) -> Alert:
    """What ``json_from_alert`` said; other keys are passed over. Raises ValueError when it is not a whole alert."""
    try:
        track, probability, evidence = said["track_id"], said["fake_probability"], said["evidence"]
        return Alert(
            id=str(said["id"]),
            rule=str(said["rule"]),
            kind=AlertKind(said["kind"]),
            severity=Severity(said["severity"]),
            state=AlertState(said["state"]),
            stream=StreamName(str(said["stream"])),
            track_id=None if track is None else TrackId(int(str(track))),
            began_at=float(str(said["began_at"])),
            changed_at=float(str(said["changed_at"])),
            fake_probability=None if probability is None else float(str(probability)),
            message=str(said["message"]),
            model=str(said["model"]),
            backend=str(said["backend"]),
            evidence=None if evidence is None else str(evidence),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an alert: {type(error).__name__}") from error


class AlertListener(Protocol):
    """Told of every alert and every change of one, on the alerts' worker thread. Must return at once, never raise."""

    def alert_changed(self, alert: Alert) -> None: ...
