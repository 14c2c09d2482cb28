"""A GLib main loop on a thread of its own, for the parts of GStreamer that need one."""

from __future__ import annotations

import threading
from typing import Any

from gi.repository import GLib


class LoopThread:
    """Runs from construction until ``stop``."""

    def __init__(self, name: str) -> None:
        self.context: Any = GLib.MainContext.new()
        self._loop = GLib.MainLoop.new(self.context, False)
        self._thread = threading.Thread(target=self._loop.run, name=name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the loop and wait for its thread."""
        GLib.MainContext.invoke_full(self.context, GLib.PRIORITY_DEFAULT, self._quit)
        self._thread.join(timeout_s)

    def _quit(self, *_: Any) -> bool:
        self._loop.quit()
        return False
