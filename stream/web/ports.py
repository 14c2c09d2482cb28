"""What the web room is given: it opens nothing of the live path itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stream.alerts.alert import Alert, AlertState
from stream.types import StreamName


class LiveVideo(Protocol):
    """A stream's drawn video for viewers; nothing is drawn or encoded for it while nobody watches."""

    def snapshot(self, stream: StreamName, timeout_s: float) -> bytes | None:
        """JPEG of the next drawn frame; None: no such stream, or no frame in time."""

    def jpegs(self, stream: StreamName, fps: float) -> AbstractContextManager[Iterator[bytes | None]]:
        """Newest drawn frames as JPEGs until it is left, at most ``fps`` a second; None when a second passes without.

        Raises KeyError when there is no such stream. A viewer that is slow misses frames; it holds up nobody.
        """

    @property
    def has_webrtc(self) -> bool:
        """Whether this machine has GStreamer's WebRTC."""

    @property
    def peers(self) -> int:
        """How many watch by WebRTC now."""

    def answer(self, stream: StreamName, offer_sdp: str, timeout_s: float, may_watch: Callable[[], bool]) -> str:
        """SDP answer, with its candidates, to a viewer's offer; the viewer's pipeline goes when its peer does.

        It goes as well some seconds after ``may_watch`` says no, which is asked on any thread and answers at once.

        Raises KeyError when there is no such stream, and OutputError (one line) when no answer can be made.
        """

    def close(self) -> None: ...


@dataclass(frozen=True)
class Condition:
    """One thing that must hold before this service can be relied on."""

    name: str
    is_met: bool
    why: str
    """One line; without secrets."""


class Readiness:
    """Named conditions, each set by its owner. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._conditions: dict[str, Condition] = {}

    def set(self, name: str, *, is_met: bool, why: str) -> None:
        with self._lock:
            self._conditions[name] = Condition(name, is_met, why)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        with self._lock:
            return tuple(self._conditions.values())

    @property
    def is_ready(self) -> bool:
        """Whether all hold; without any, nothing is known and it does not."""
        conditions = self.conditions
        return bool(conditions) and all(condition.is_met for condition in conditions)


@dataclass(frozen=True)
class EvidenceFile:
    """One file of an alert's evidence, as its manifest names it."""

    name: str
    """Within the alert's folder; no path."""
    kind: str
    """Such as ``snapshot``, ``crop``, ``clip``, ``heatmap``."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Evidence:
    """What was kept of an alert."""

    files: tuple[EvidenceFile, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    timeline: Any = None
    """What was seen moment by moment, as its file says; None where there is none."""


class AlertArchive(Protocol):
    """Alerts of this run and, where evidence is kept, of earlier ones. Safe from any thread; may read disks."""

    def newest(
        self, limit: int, before: float | None = None, stream: str | None = None, state: AlertState | None = None
    ) -> Sequence[Alert]:
        """At most ``limit``, newest first; ``before``: that began before this moment, in seconds since the epoch."""

    def alert(self, alert_id: str) -> Alert | None: ...

    def evidence(self, alert_id: str) -> Evidence | None:
        """None: no such alert, or nothing was kept of it."""

    def file(self, alert_id: str, name: str) -> Path | None:
        """A regular file within the alert's own folder, named by its manifest; None for anything else."""
