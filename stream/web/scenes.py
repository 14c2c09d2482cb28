"""Scenes on their way to viewers: the newest of each stream, and a mailbox for each listener."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stream.alerts.alert import Alert
from stream.types import FaceScore, Scene, StreamName, TrackId

HISTORY_S = 300.0
"""How far back a face's scores are told."""
COARSE_S = 1.0
"""Between two scores that are older than a scene's own history."""
ALERTS_MOST = 200
"""That may wait for one listener; with one more it is too slow and is let go."""

Point = tuple[float, float]
"""(wall time in seconds since the epoch, fake probability)."""


@dataclass(frozen=True)
class ToldScene:
    """A scene and the moment it was told of."""

    scene: Scene
    at: float
    """Wall time, seconds since the epoch."""

    def history(self, face: FaceScore) -> list[Point]:
        """The face's scores of the last 30 seconds by wall time, oldest first."""
        return [(self.at - (self.scene.pts_ns - pts_ns) / 1e9, value) for pts_ns, value in face.history]


@dataclass(frozen=True)
class Mail:
    """What came for a listener since it last looked."""

    scenes: tuple[ToldScene, ...]
    """The newest of each stream; what it replaced is lost."""
    alerts: tuple[Alert, ...]
    """All of them, in order."""
    streams_changed: bool


class Mailbox:
    """Holds what a listener has not taken yet: bounded, whatever the listener does. Safe from any thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """``wake`` is called, on the thread that brings something, when the box was empty."""
        self._wake, self._lock = wake, threading.Lock()
        self._scenes: dict[StreamName, ToldScene] = {}
        self._alerts: deque[Alert] = deque()
        self._streams_changed = self._is_awake = self._is_lost = False

    @property
    def is_lost(self) -> bool:
        """Whether more alerts waited than a listener may miss: it must go and ask again."""
        return self._is_lost

    def bring_scene(self, told: ToldScene) -> None:
        with self._lock:
            self._scenes[told.scene.stream] = told
        self._ring()

    def bring_alert(self, alert: Alert) -> None:
        with self._lock:
            if len(self._alerts) < ALERTS_MOST:
                self._alerts.append(alert)
            else:
                self._is_lost = True
        self._ring()

    def bring_streams(self) -> None:
        with self._lock:
            self._streams_changed = True
        self._ring()

    def take(self) -> Mail:
        with self._lock:
            mail = Mail(tuple(self._scenes.values()), tuple(self._alerts), self._streams_changed)
            self._scenes.clear()
            self._alerts.clear()
            self._streams_changed = self._is_awake = False
        return mail

    def _ring(self) -> None:
        with self._lock:
            is_first, self._is_awake = not self._is_awake, True
        if is_first:
            self._wake()


class _Past:
    """A face's scores before those that its scenes still carry: one a second."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=round(HISTORY_S / COARSE_S))

    def add(self, point: Point) -> None:
        if not self.points or point[0] - self.points[-1][0] >= COARSE_S:
            self.points.append(point)

    def with_newer(self, newer: list[Point]) -> list[Point]:
        first = newer[0][0] if newer else float("inf")
        return [point for point in self.points if point[0] < first] + newer


class SceneHub:
    """A Sink that keeps the newest scenes and hands them to listeners. It waits for none of them."""

    def __init__(self, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock, self._lock = wall_clock, threading.Lock()
        self._newest: dict[StreamName, ToldScene] = {}
        self._past: dict[StreamName, dict[TrackId, _Past]] = {}
        self._boxes: tuple[Mailbox, ...] = ()
        """Never changed, only replaced."""

    def publish(self, scene: Scene) -> None:
        told = ToldScene(scene, self._wall_clock())
        with self._lock:
            if scene.is_last:
                self._newest.pop(scene.stream, None)
                self._past.pop(scene.stream, None)
            else:
                self._newest[scene.stream] = told
                self._remember(told)
        for box in self._boxes:
            if not scene.is_last:
                box.bring_scene(told)

    def close(self) -> None:
        """As a sink: nothing follows, and nothing was opened."""

    def alert_changed(self, alert: Alert) -> None:
        for box in self._boxes:
            box.bring_alert(alert)

    def streams_changed(self) -> None:
        for box in self._boxes:
            box.bring_streams()

    def newest(self, stream: StreamName) -> ToldScene | None:
        return self._newest.get(stream)

    def all_newest(self) -> tuple[ToldScene, ...]:
        with self._lock:
            return tuple(self._newest.values())

    def history(self, told: ToldScene, face: FaceScore) -> list[Point]:
        """The face's scores of the last minutes: every one of the last 30 seconds, one a second before."""
        with self._lock:
            past = self._past.get(told.scene.stream, {}).get(face.track_id)
            return told.history(face) if past is None else past.with_newer(told.history(face))

    @contextmanager
    def listening(self, wake: Callable[[], None]) -> Iterator[Mailbox]:
        """A mailbox that already holds the newest scenes; it gets all that comes until it is left."""
        box = Mailbox(wake)
        with self._lock:
            self._boxes = (*self._boxes, box)
            newest = tuple(self._newest.values())
        try:
            for told in newest:
                box.bring_scene(told)
            yield box
        finally:
            with self._lock:
                self._boxes = tuple(other for other in self._boxes if other is not box)

    def _remember(self, told: ToldScene) -> None:
        """Of the faces in view; those that are gone are forgotten."""
        before, stream = self._past.get(told.scene.stream, {}), told.scene.stream
        self._past[stream] = {face.track_id: before.get(face.track_id) or _Past() for face in told.scene.faces}
        for face in told.scene.faces:
            if face.history:
                self._past[stream][face.track_id].add(told.history(face)[-1])
