"""A GLib main loop on a thread of its own, for the parts of GStreamer that need one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from gi.repository import GLib

log = logging.getLogger(__name__)


class LoopThread:
    """Runs from construction until ``stop``."""

    def __init__(self, name: str) -> None:
        self.context: Any = GLib.MainContext.new()
        self._loop = GLib.MainLoop.new(self.context, False)
        self._thread = threading.Thread(target=self._loop.run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], object], timeout_s: float = 5.0) -> bool:
        """Run ``work`` on the loop's thread, which owns its sources. Whether it was done in time."""
        done = threading.Event()

        def run() -> bool:
            try:
                work()
            finally:
                done.set()
            return False

        self._attach(GLib.Idle(), run)
        return done.wait(timeout_s)

    def every(self, seconds: float, work: Callable[[], object]) -> int:
        """Run ``work`` on the loop's thread again and again, until its source is removed. Returns the source's id."""

        def run() -> bool:
            try:
                work()
            except Exception:  # it would end the source, and what it does for all that follow
                log.exception("what is done every %g s has failed", seconds)
            return True

        return self._attach(GLib.Timeout(round(seconds * 1000)), run)

    def remove(self, *source_ids: int) -> None:
        """Their sources never run again."""

        def destroy() -> None:
            for source_id in source_ids:
                source = self.context.find_source_by_id(source_id)
                if source is not None:
                    source.destroy()

        self.call(destroy)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the loop and wait for its thread."""
        self.call(self._loop.quit, timeout_s)
        self._thread.join(timeout_s)

    def _attach(self, source: Any, run: Callable[[], bool]) -> int:
        source.set_priority(GLib.PRIORITY_DEFAULT)
        source.set_callback(lambda *_: run())
        return int(source.attach(self.context))
