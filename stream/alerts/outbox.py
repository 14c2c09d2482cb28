"""All sinks of a run: what waits for each on disk, and the threads that bring it there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stream.alerts.alert import Alert, Severity
from stream.alerts.courier import DROPPED, Courier, Waits
from stream.alerts.sender import Sender
from stream.alerts.spool import Spool, SpoolLimits
from stream.types import StreamName

CLOSE_S = 5.0
"""How long the end waits for what is on its way; the rest stays on disk for the next run."""


class DeliveryCounts(Protocol):
    """Told how messages fare; the metrics are one. Safe from any thread."""

    def alert_delivery(self, sink: str, outcome: str) -> None: ...

    def alerts_waiting(self, sink: str, count: int) -> None: ...


@dataclass(frozen=True)
class Route:
    """A sink."""

    sender: Sender
    at_least: Severity = Severity.INFO


class Outbox:
    """``add`` belongs to one thread. Raises OutputError when its folder cannot be used."""

    def __init__(
        self,
        folder: Path,
        routes: Mapping[str, Route],
        limits: SpoolLimits,
        counts: DeliveryCounts,
        *,
        waits: Waits | None = None,
    ) -> None:
        self._counts, self._streams = counts, _no_streams
        self._guard = threading.Lock()
        least = {sink: route.at_least for sink, route in routes.items()}
        self._spool = Spool(folder, least, limits, lambda sink: self._counts.alert_delivery(sink, DROPPED))
        self._couriers = {
            sink: Courier(sink, route.sender, self._spool, self._tell, waits=waits, streams=lambda: self._streams())
            for sink, route in routes.items()
        }

    def start(self, streams: Callable[[], Collection[StreamName]]) -> tuple[Alert, ...]:
        """Begin to send; the alerts that an earlier run left firing. ``streams``: all that are watched."""
        self._streams = streams
        left = self._spool.left_firing()
        for sink, courier in self._couriers.items():
            self._show_waiting(sink)
            courier.start()
        return left

    def add(self, alert: Alert) -> None:
        """Once it returns the message is on disk for every sink that is to be told."""
        for sink in self._spool.add(alert):
            self._show_waiting(sink)
            self._couriers[sink].wake()

    def close(self) -> None:
        """Send what can be sent in a few seconds, all sinks at once; the rest stays on disk."""
        deadline_s = time.monotonic() + CLOSE_S
        for courier in self._couriers.values():
            courier.stop()
        for courier in self._couriers.values():
            courier.join(max(0.0, deadline_s - time.monotonic()))
        self._spool.close()

    def _tell(self, sink: str, outcome: str) -> None:
        self._counts.alert_delivery(sink, outcome)
        self._show_waiting(sink)

    def _show_waiting(self, sink: str) -> None:
        """Two threads count: the later look must be the one that is shown."""
        with self._guard:
            self._counts.alerts_waiting(sink, self._spool.count(sink))


def _no_streams() -> Collection[StreamName]:
    return ()
