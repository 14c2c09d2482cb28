"""The seam of those who bring an alert to somebody."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from stream.alerts.alert import Alert
from stream.types import StreamName


class NotSentError(Exception):
    """It did not arrive, and a later try may succeed. One line without secrets."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        """``retry_after_s``: how long the receiver asks to be left alone."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RefusedError(Exception):
    """The receiver understood and will never take this message. One line without secrets."""


class Sender(Protocol):
    """Sends to one receiver, on one thread; it may block for its timeout."""

    @property
    def refresh_s(self) -> float | None:
        """How often ``refresh`` is called besides; None: never."""

    def send(self, alert: Alert) -> None:
        """Returns when the receiver has it. Raises NotSentError or RefusedError."""

    def refresh(self, streams: Collection[StreamName]) -> None:
        """Say again what a receiver must not forget; ``streams`` are all that are watched. Raises NotSentError."""

    def close(self) -> None:
        """Say goodbye, in a second or two; never raises."""
