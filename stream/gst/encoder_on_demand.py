"""What the feeds of viewers have in common: one encoder, opened for the first frame that somebody wants."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from stream.errors import MissingPartError, OutputError, UnmaskError
from stream.gst.branch import Branch

log = logging.getLogger(__name__)

STOP_WITHIN_S = 1.0
RETRY_S = 5.0
"""How long after an encoder could not be opened the next frame of the same caps tries again."""


class EncoderOnDemand:
    """The encoder of one stream's frames, and when it comes and goes. ``_lock`` guards it, and is held for moments."""

    def __init__(self, name: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._name, self._now_s = name, now_s
        self._lock = threading.Lock()
        """Never held while something starts to wait or to stop."""
        self._branch: Branch | None = None
        self._caps: Any = None
        self._is_closed = False
        self._retry_at_s = 0.0
        self._refusal = ""
        """Why there is no encoder, as it was told; empty while there can be one."""

    def _opened(self, caps: Any) -> Branch:
        """An encoder of frames of these caps. Raises OutputError and MissingPartError."""
        raise NotImplementedError

    def _branch_for(self, caps: Any) -> tuple[Branch | None, Branch | None]:
        """(what encodes frames of these caps, what it took the place of); a failed one is not replaced. Locked."""
        before = self._branch
        is_new = self._caps is None or not self._caps.is_equal(caps)
        if is_new or (before is None and self._now_s() >= self._retry_at_s):
            self._branch, self._caps = self._tried(caps), caps
        return self._branch, before if before is not self._branch else None

    def _tried(self, caps: Any) -> Branch | None:
        """An encoder; None when there can be none for now, which is told once for each reason. Locked."""
        try:
            branch = self._opened(caps)
        except (OutputError, MissingPartError) as error:
            if str(error) != self._refusal:
                self._tell(error)
            self._refusal, self._retry_at_s = str(error), self._now_s() + RETRY_S
            return None
        self._refusal = ""
        return branch

    def _taken_failed(self) -> Branch | None:
        """The encoder, taken out if it has failed: it is tried anew for whoever comes. Locked."""
        return self._taken() if self._branch is not None and self._branch.has_failed else None

    def _taken(self) -> Branch | None:
        """The encoder, taken out. Locked."""
        branch, self._branch = self._branch, None
        return branch

    def _tell(self, error: UnmaskError) -> None:
        log.error("%s", error)


def feed(branch: Branch | None, before: Branch | None, buffer: Any, caps: Any) -> None:
    """One frame to the encoder; one that it took the place of is stopped. Outside the lock."""
    if branch is not None:
        branch.push(buffer, caps)
    stop_aside(before)


def stop(branch: Branch | None) -> None:
    """Stop what is no longer wanted, and wait for it."""
    if branch is not None:
        branch.finish(STOP_WITHIN_S)


def stop_aside(branch: Branch | None) -> None:
    """Stop what the drawing's thread may not wait for."""
    if branch is not None:
        threading.Thread(target=stop, args=(branch,), name="viewers-stop", daemon=True).start()
