"""What the operating system's signals mean to a command that goes on until it is stopped."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream.reload import Reload


@contextmanager
def stopping_on_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event, so that outputs are finished; a second Ctrl-C interrupts at once."""
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reading_again_on_hangup(reload: Reload | None, stop: threading.Event) -> Iterator[None]:
    """SIGHUP reads the configuration file again. Without a file, or when it says that the terminal is gone, it ends."""
    had_terminal = os.isatty(0)

    def ask(_number: int, _frame: FrameType | None) -> None:
        if reload is None or (had_terminal and not os.isatty(0)):
            stop.set()
        else:
            reload.ask()

    before = signal.getsignal(signal.SIGHUP)
    if reload is not None or before is not signal.SIG_IGN:  # nohup means it
        signal.signal(signal.SIGHUP, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
