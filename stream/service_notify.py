"""What a service manager is told of a run: systemd's notification protocol, as sd_notify(3) describes it.

One datagram of ``KEY=value`` lines goes to the socket that ``NOTIFY_SOCKET`` names. Without one nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

PINGS_PER_LIMIT = 4
"""The watchdog's limit may pass over a lost ping or a slow step; systemd's advice is at least two."""


class ServiceNotify:
    """The door to the service manager. Used by one thread; it never raises and never waits."""

    def __init__(
        self, address: str | None = None, *, watchdog_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``address``: the socket's path, or a name in the abstract namespace after an ``@``; None: nobody listens.

        ``watchdog_s``: after how many seconds without a ping the manager restarts us; 0: it does not watch.
        """
        self._address = address and (f"\0{address[1:]}" if address.startswith("@") else address)
        self._period_s = watchdog_s / PINGS_PER_LIMIT
        self._clock = clock
        self._pinged_s: float | None = None
        self._progress = -1
        self._status = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, pid: int | None = None) -> ServiceNotify:
        """``pid``: ours. A watchdog that was meant for another process, such as our parent, is not ours to feed."""
        address = environment.get("NOTIFY_SOCKET", "")
        is_ours = environment.get("WATCHDOG_PID") in (None, "", str(os.getpid() if pid is None else pid))
        limit_us = environment.get("WATCHDOG_USEC", "")
        watchdog_s = int(limit_us) / 1e6 if is_ours and limit_us.isdecimal() else 0.0
        return cls(address if address.startswith(("/", "@")) else None, watchdog_s=watchdog_s)

    def ready(self) -> None:
        """Everything runs: units that wait for this one may start."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for people, shown by ``systemctl status``; the same line is sent once."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self, progress: int) -> None:
        """Feed the watchdog if the work went on: ``progress`` must have changed since the last ping.

        So a thread that hangs in a driver starves the watchdog, however alive the caller is. Call it often: no more
        pings are sent than the limit needs.
        """
        now_s = self._clock()
        is_due = self._pinged_s is None or now_s - self._pinged_s >= self._period_s
        if self._period_s > 0 and is_due and progress != self._progress:
            self._pinged_s, self._progress = now_s, progress
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun; outputs are being finished."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.setblocking(False)
                door.sendto(message.encode(), self._address)
        except OSError:
            return  # a manager that is gone or busy must not take the run along: it has its own timeouts
