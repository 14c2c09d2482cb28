"""The seam between alerts and what is kept of them."""

from __future__ import annotations

from typing import Protocol

from stream.alerts.alert import Alert


class EvidenceTaker(Protocol):
    """Keeps what was seen around an alert."""

    def take(self, alert: Alert) -> str | None:
        """Begin to keep evidence of an alert that fires; the name of its folder, or None when none is kept.

        Returns at once and never raises: what must wait (a clip's end) is written on another thread, and a failure is
        logged, counted and said in the folder's manifest.
        """
