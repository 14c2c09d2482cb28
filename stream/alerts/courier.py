"""One thread for each sink: takes what waits for it, in order, and tries until the sink has it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from stream.alerts.alert import Alert
from stream.alerts.message import key_of
from stream.alerts.sender import NotSentError, RefusedError, Sender
from stream.alerts.spool import Spool, Waiting
from stream.types import StreamName

log = logging.getLogger(__name__)

DELIVERED, FAILED, REFUSED, DROPPED = OUTCOMES = ("delivered", "failed", "refused", "dropped")
"""Metric labels. ``failed`` is a try that will be repeated; ``dropped`` is told by the spool."""
Deliveries = Callable[[str, str], None]
"""Told a sink and an outcome."""


@dataclass(frozen=True)
class Waits:
    """Between tries: they double up to a limit, and are shortened by chance so that not all come back at once."""

    first_s: float = 1.0
    longest_s: float = 60.0

    def after(self, failures: int, asked_for_s: float, chance: float) -> float:
        """``failures``: in a row, from 1. ``asked_for_s``: by the receiver; ``chance``: from 0 to 1."""
        doubled_s = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return max(min(asked_for_s, self.longest_s), doubled_s * (0.5 + chance / 2))


class Courier:
    """Owns a sink's thread and its sender. A sink that is dead costs nobody else anything."""

    def __init__(
        self,
        sink: str,
        sender: Sender,
        spool: Spool,
        tell: Deliveries,
        *,
        waits: Waits | None = None,
        streams: Callable[[], Collection[StreamName]] = tuple,
    ) -> None:
        self._sink, self._sender, self._spool, self._tell = sink, sender, spool, tell
        self._waits, self._streams = waits or Waits(), streams
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._failures = 0
        self._refreshed_s: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"alerts-{sink}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something waits for the sink."""
        self._wake.set()

    def stop(self) -> None:
        """Try once more to send what waits, then end; what does not arrive stays on disk."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """A thread that hangs in its sender is left behind."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                self._refresh()
                if self._send_all():
                    self._wake.wait(self._until_refresh_s())
            self._send_all()
        finally:
            self._sender.close()

    def _send_all(self) -> bool:
        """Whether nothing waits any more; False after a failure, when the time to try again has come."""
        while (found := self._spool.oldest(self._sink)) is not None:
            failure = self._attempt(*found)
            if failure is None:
                continue
            if not self._stopping.is_set():
                spread = random.random()  # nosec B311 # of retries
                self._stopping.wait(self._waits.after(self._failures, failure.retry_after_s, spread))
            return False
        return True

    def _attempt(self, waiting: Waiting, alert: Alert) -> NotSentError | None:
        try:
            self._sender.send(alert)
        except NotSentError as failure:
            self._tell(self._sink, FAILED)
            self._fail(failure)
            return failure
        except RefusedError as refusal:
            log.error("alert sink %s will not take %s (%s): it is put aside", self._sink, key_of(alert), refusal)
            self._spool.refuse(self._sink, waiting)
            self._tell(self._sink, REFUSED)
        except Exception as error:  # a sender's bug: its message must not be lost by it, nor the thread
            log.exception("alert sink %s failed in a way nobody foresaw", self._sink)
            unforeseen = NotSentError(type(error).__name__)
            self._tell(self._sink, FAILED)
            self._fail(unforeseen)
            return unforeseen
        else:
            self._spool.done(self._sink, waiting)
            self._succeed()
            self._tell(self._sink, DELIVERED)
        return None

    def _refresh(self) -> None:
        if self._sender.refresh_s is None or self._until_refresh_s() != 0:
            return
        self._refreshed_s = time.monotonic()
        try:
            self._sender.refresh(self._streams())
        except NotSentError as failure:
            self._fail(failure)
        except Exception:  # a sender's bug: the thread must outlive it
            log.exception("alert sink %s failed in a way nobody foresaw", self._sink)
        else:
            if self._spool.count(self._sink) == 0:  # else the next message tells whether it is reached
                self._succeed()

    def _until_refresh_s(self) -> float | None:
        every_s = self._sender.refresh_s
        if every_s is None or self._refreshed_s is None:
            return None if every_s is None else 0.0
        return max(0.0, self._refreshed_s + every_s - time.monotonic())

    def _fail(self, failure: NotSentError) -> None:
        self._failures += 1
        if self._failures == 1:
            log.warning("alert sink %s: %s; its messages wait and are tried again", self._sink, failure)

    def _succeed(self) -> None:
        if self._failures:
            log.warning("alert sink %s: reached again", self._sink)
        self._failures = 0
