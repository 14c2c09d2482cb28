"""A configuration read again while its run goes on: the streams follow it, other sections wait for a restart."""

from __future__ import annotations

import threading
from collections.abc import Callable

from stream.config import AppConfig
from stream.config_file import ConfigError
from stream.errors import UnmaskError
from stream.live_streams import LiveStreams, StreamChanges

STREAMS = ("streams", "defaults")
"""Sections that take effect at once."""


class Reload:
    """Reads the configuration when asked, on a thread of its own: closing a camera may take seconds.

    ``ask`` may be called by a signal handler. All else belongs to the thread that waits for the end of the run.
    """

    def __init__(self, read: Callable[[], AppConfig], tell: Callable[[str], None]) -> None:
        """``read`` raises UnmaskError when the configuration is no good; ``tell`` takes one line for people.

        Each problem of a bad configuration is a line of its own.
        """
        self._read, self._tell = read, tell
        self._asked = self._begun = 0
        """Plain numbers: a signal handler must not wait for the lock of an event."""
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Once more, however many times it is asked before that."""
        self._asked += 1

    def poll(self, running: AppConfig, streams: LiveStreams) -> None:
        """Begin when it was asked and the last time is over. ``running``: what the run was started with."""
        if self._begun == self._asked or (self._thread is not None and self._thread.is_alive()):
            return
        self._begun = self._asked
        self._thread = threading.Thread(target=self._meet, args=(running, streams), name="reload", daemon=True)
        self._thread.start()

    def _meet(self, running: AppConfig, streams: LiveStreams) -> None:
        try:
            wanted = self._read()
            changes = streams.replace(wanted.streams)
        except UnmaskError as error:
            *others, last = error.problems if isinstance(error, ConfigError) else (str(error),)
            for problem in others:
                self._tell(problem)
            self._tell(f"{last}; nothing was changed")
            return
        self._tell(f"configuration read again: {words_of(changes)}")
        waiting = changed_sections(running, wanted)
        if waiting:
            self._tell(f"changed too, but used only after a restart: {', '.join(waiting)}")


def words_of(changes: StreamChanges) -> str:
    """Such as ``added yard, gate; removed desk``."""
    named = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
    told = (f"{verb} {', '.join(names)}" for verb, names in named.items() if names)
    return "; ".join(told) or "no stream has changed"


def changed_sections(running: AppConfig, wanted: AppConfig) -> tuple[str, ...]:
    """Sections that differ and that a run reads only at its start."""
    names = (name for name in AppConfig.model_fields if name not in STREAMS)
    return tuple(name for name in names if getattr(running, name) != getattr(wanted, name))
