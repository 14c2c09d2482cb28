"""Errors of the video side.

UnmaskError                  one line that says what to do; carries the exit code
├── UsageError         (2)   bad arguments, configuration, source address
│   └── TooManyStreamsError  as many are watched as may be
├── ModelError         (3)   weights or engines missing, corrupt, of another model
├── SourceError        (4)   a source that cannot be opened or read
├── OutputError        (5)   a sink that cannot be opened or written: disk full, port taken, no display
│   ├── WindowLostError      the window was closed: told, and no failure
│   └── PageAddressError     the page's address is taken, or none of this machine
└── MissingPartError   (6)   a GStreamer element, library or device this machine lacks

Foreign exceptions (GStreamer's, ONNX Runtime's, the operating system's) are translated where they enter.
"""

from __future__ import annotations


class UnmaskError(Exception):
    """Anything a user can mend. ``str(error)`` is one line without credentials."""

    exit_code = 1


class UsageError(UnmaskError):
    """The request itself is wrong."""

    exit_code = 2


class TooManyStreamsError(UsageError):
    """As many are watched as may be."""


class ModelError(UnmaskError):
    """The model cannot be used."""

    exit_code = 3


class SourceError(UnmaskError):
    """The source cannot be opened or read."""

    exit_code = 4

    def __init__(self, message: str, *, reason: str = "error") -> None:
        """``reason``: one of SOURCE_REASONS (stream/types.py), used as a metric label."""
        super().__init__(message)
        self.reason = reason


class OutputError(UnmaskError):
    """A sink cannot be opened or written."""

    exit_code = 5


class WindowLostError(OutputError):
    """Somebody closed the window: told, but nothing was lost."""


class PageAddressError(OutputError):
    """The page cannot listen where it should."""


class MissingPartError(UnmaskError):
    """Something must be installed first; the message says how."""

    exit_code = 6
