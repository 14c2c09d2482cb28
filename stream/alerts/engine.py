"""The alerts of a run: rules on the analysis thread, everything else on a thread of its own."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from stream.alerts.alert import Alert, AlertListener, AlertState
from stream.alerts.message import ended, json_of, one_line
from stream.alerts.rule_book import RuleBook
from stream.alerts.rules import Now
from stream.evidence.ports import EvidenceTaker
from stream.ports import Sink
from stream.types import Scene, StreamName, StreamState

log = logging.getLogger(__name__)

TICK_S = 0.25
JOIN_S = 5.0
MOST_RAISED = 1000
"""Alerts of others that wait for the worker; more are a bug of theirs."""
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

States = Callable[[], Mapping[StreamName, StreamState]]
"""Every stream that is watched, and how it is. Called on the worker thread."""
Record = Callable[[str, Mapping[str, object]], None]
"""Adds to the log that cannot be quietly edited: a kind and what to keep."""


class Messages(Protocol):
    """Where messages go: the outbox, or nowhere."""

    def start(self, streams: Callable[[], Sequence[StreamName]]) -> Sequence[Alert]: ...

    def add(self, alert: Alert) -> None: ...

    def close(self) -> None: ...


def now() -> Now:
    return Now(time.monotonic_ns(), time.time())


class AlertEngine:
    """A Sink: ``publish`` judges by pure rules and returns. Files, sockets and listeners are the worker's."""

    def __init__(
        self,
        book: RuleBook,
        messages: Messages | None = None,
        *,
        evidence: EvidenceTaker | None = None,
        record: Record | None = None,
        clock: Callable[[], Now] = now,
    ) -> None:
        """``messages``: None sends nothing; alerts are still logged and told to listeners."""
        self._book, self._messages, self._evidence, self._record = book, messages, evidence, record
        self._clock = clock
        self._guard = threading.Lock()
        """Held for pure rules and a queue only: neither the analysis nor the worker waits for more than that."""
        self._changed: deque[Alert] = deque()
        self._listeners: tuple[AlertListener, ...] = ()
        self._firing: dict[str, Alert] = {}
        """What was told and has not resolved, by id; the worker's alone."""
        self._over: deque[str] = deque(maxlen=MOST_RAISED)
        """Ids that have resolved: their owner may say so again."""
        self._states: States = dict
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._worker = threading.Thread(target=self._run, name="alerts", daemon=True)

    @property
    def sink(self) -> Sink:
        """What is to be fed with scenes."""
        return self

    def subscribe(self, listener: AlertListener) -> None:
        """Tell it of every alert from now on."""
        with self._guard:
            self._listeners = (*self._listeners, listener)

    def start(self, states: States) -> None:
        """Begin to tick and to tell; an alert that an earlier run left behind is resolved first."""
        self._states = states
        if self._messages is not None:
            for alert in self._messages.start(lambda: [*self._states()]):
                self._firing[alert.id] = alert
                self._queue([ended(alert, self._clock().wall_s, "the run that saw it was ended by force")])
        self._worker.start()

    def publish(self, scene: Scene) -> None:
        with self._guard:
            alerts = self._book.scene(scene, self._clock())
            self._changed.extend(alerts)
        if alerts:
            self._wake.set()

    def raise_alert(self, alert: Alert) -> None:
        """Of somebody who is no rule; from any thread, and told once for each ``id`` and ``state``.

        Raises ValueError when the id is not fit for a file's name.
        """
        if not _ID.fullmatch(alert.id):
            raise ValueError(f"an alert's id is 1-64 letters, digits, '-' or '_', not {alert.id!r}")
        self._queue([alert])
        self._wake.set()

    def close(self) -> None:
        """Resolve what still fires and tell it, in bounded time; a second call does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        if self._worker.is_alive():
            self._worker.join(JOIN_S)
        if self._worker.is_alive():
            log.error("alerts: a listener has not answered for %g s; what still fires is not told of", JOIN_S)
        else:
            self._tell_all(self._end())
        if self._messages is not None:
            self._messages.close()

    def _queue(self, alerts: Sequence[Alert]) -> None:
        with self._guard:
            if len(self._changed) < MOST_RAISED:
                self._changed.extend(alerts)
            else:
                log.error("alerts: too many at once, %s is not told", one_line(alerts[0]))

    # The worker

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(TICK_S)
            self._wake.clear()
            try:
                self._tell_all(self._tick())
            except Exception:  # top of the thread: alerts that died silently would be worse than anything
                log.exception("alerts failed in a way nobody foresaw; going on")

    def _tick(self) -> list[Alert]:
        states = self._states()
        with self._guard:
            self._changed.extend(self._book.tick(states, self._clock()))
            return self._taken()

    def _end(self) -> list[Alert]:
        """What still waits to be told, and the end of all that fires: of the rules, and of others."""
        with self._guard:
            self._changed.extend(self._book.end(self._clock()))
            alerts = self._taken()
        over = {alert.id for alert in alerts if alert.state is AlertState.RESOLVED}
        firing = {alert.id: alert for alert in (*self._firing.values(), *alerts) if alert.id not in over}
        wall_s = self._clock().wall_s
        return [*alerts, *(ended(alert, wall_s, "still so when the watch ended") for alert in firing.values())]

    def _taken(self) -> list[Alert]:
        alerts = [*self._changed]
        self._changed.clear()
        return alerts

    def _tell_all(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            is_firing = alert.id in self._firing
            if is_firing is (alert.state is AlertState.RESOLVED) and alert.id not in self._over:
                self._tell(self._with_evidence(alert))  # anything else was told before

    def _with_evidence(self, alert: Alert) -> Alert:
        if alert.state is AlertState.RESOLVED:
            return replace(alert, evidence=self._firing[alert.id].evidence)
        if self._evidence is None:
            return alert
        folder = self._try("evidence", partial(self._evidence.take, alert))
        return replace(alert, evidence=folder) if isinstance(folder, str) else alert

    def _tell(self, alert: Alert) -> None:
        """First to the disk: what is there is not lost, whatever comes then."""
        if alert.state is AlertState.FIRING:
            self._firing[alert.id] = alert
        else:
            del self._firing[alert.id]
            self._over.append(alert.id)
        log.warning("%s", one_line(alert))
        if self._messages is not None:
            self._try("spool", partial(self._messages.add, alert))
        if self._record is not None:
            self._try("log", partial(self._record, f"alert_{alert.state.value}", json_of(alert)))
        for listener in self._listeners:
            self._try("listener", partial(listener.alert_changed, alert))

    def _try(self, whose: str, call: Callable[[], object]) -> object:
        """A bug of one that is told must not keep an alert from the others."""
        try:
            return call()
        except Exception:  # of whatever kind: see above
            log.exception("alerts: %s failed in a way nobody foresaw", whose)
            return None
