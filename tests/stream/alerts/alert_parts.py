"""Scenes, moments and alerts that the tests of alerts are made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from stream.alerts.alert import Alert, AlertKind, AlertState, Severity
from stream.alerts.rule_book import RuleBook
from stream.alerts.rules import Now, Rule
from stream.types import FaceScore, Scene, StreamName, StreamState, TrackId, Verdict

CAM = StreamName("door")
SECOND = 1_000_000_000
WALL_S = 1_700_000_000.0
PLAYING = {CAM: StreamState.PLAYING}

ALERT = Alert(
    id="a1",
    rule="swapped",
    kind=AlertKind.FAKE,
    severity=Severity.CRITICAL,
    state=AlertState.FIRING,
    stream=CAM,
    track_id=TrackId(3),
    began_at=WALL_S,
    changed_at=WALL_S,
    fake_probability=0.93,
    message="face 3 on door has been fake for 3 s",
    model="lite0-gru",
    backend="onnxruntime-cpu",
)


def alert_of(id: str = "a1", state: AlertState = AlertState.FIRING, **changes: object) -> Alert:
    return replace(ALERT, id=id, state=state, **changes)  # type: ignore[arg-type]  # a test's shorthand


def both_of(id: str) -> tuple[Alert, Alert]:
    """An alert's two messages."""
    return alert_of(id), alert_of(id, AlertState.RESOLVED, changed_at=WALL_S + 9)


def now_at(seconds: float) -> Now:
    return Now(round(seconds * SECOND), WALL_S + seconds)


def book_of(*rules: Rule) -> RuleBook:
    return RuleBook(rules, ids())


def ids() -> Callable[[Now], str]:
    numbers = itertools.count(1)
    return lambda _: f"a{next(numbers)}"


def face_of(
    track: int = 1, verdict: Verdict = Verdict.FAKE, probability: float | None = 0.9, scored_s: float | None = None
) -> FaceScore:
    scored_ns = None if scored_s is None else round(scored_s * SECOND)
    return FaceScore(TrackId(track), (0.0, 0.0, 9.0, 9.0), verdict, probability, None, scored_ns)


def scene_at(
    pts_s: float, *faces: FaceScore, state: StreamState = StreamState.PLAYING, stream: StreamName = CAM
) -> Scene:
    return Scene(stream, faces, round(pts_s * SECOND), state=state, model="lite0-gru", backend="onnxruntime-cpu")


def states_of(alerts: Sequence[Alert]) -> list[str]:
    """``a1 firing``, …"""
    return [f"{alert.id} {alert.state.value}" for alert in alerts]
