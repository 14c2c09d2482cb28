"""Engines built while the watch runs already: a process of low priority builds, then the backbone changes over.

Nothing of it stops the watch: whatever fails is one warning, and what runs goes on.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess  # nosec B404 # this interpreter, again
import sys
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from engines.engine_choice import Opened
from engines.errors import EngineError
from engines.runtime.ports import Backend
from engines.runtime.swappable import SwappableBackend

log = logging.getLogger(__name__)

NICENESS = 10
GRACE_S = 3.0
"""From being asked to end until being killed."""
_DIES_WITH_ITS_PARENT = """
import ctypes, os, signal, sys
os.nice(int(sys.argv[1]))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != int(sys.argv[2]):
        sys.exit(1)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Runs a command at low priority that ends when its parent does, however that ends: prctl(PR_SET_PDEATHSIG)."""


class HotStart:
    """One build in the background, from ``start`` to ``close``. Opens and swaps on a thread of its own."""

    def __init__(
        self,
        backbone: SwappableBackend,
        command: Sequence[str],
        open_engine: Callable[[], Opened],
        *,
        running: tuple[str, str] = ("", ""),
    ) -> None:
        """``command`` builds and exits with 0; ``open_engine`` then gives the best there is.

        ``running``: what the present one is, as ``Opened.runs_on``; when that is still the best it is left alone.
        """
        self._backbone = backbone
        self._command = tuple(command)
        self._open_engine = open_engine
        self._running = running
        self._process: subprocess.Popen[str] | None = None
        self._is_closed = False
        self._is_over = False
        """All that was started has closed its stderr: there is nobody left to end."""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine build", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until it has come to an end; False when it has not in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """End the build and whatever it started, and wait for it; a second call does nothing."""
        with self._lock:
            self._is_closed = True
            process = self._process
        if process is not None and not self._is_over:  # its number may be another's by then
            _end(process.pid)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            if self._build():
                self._change_over()
        except EngineError as error:
            log.warning("the engine that was built cannot be used: %s; going on with %s", error, self._backbone.name)
        except Exception:  # top of the thread: the watch goes on without the engine
            log.exception("building engines failed; going on with %s", self._backbone.name)

    def _build(self) -> bool:
        """Whether there may be a new engine."""
        process = self._started()
        if process is None:
            return False
        log.info("building engines in the background, going on with %s meanwhile", self._backbone.name)
        _, told = process.communicate()
        self._is_over = True
        if self._is_closed:
            return False
        if process.returncode != 0:
            last = next((line for line in reversed(told.splitlines()) if line.strip()), "it said nothing")
            log.warning(
                "no engine was built (exit %s: %s); going on with %s", process.returncode, last, self._backbone.name
            )
        return process.returncode == 0

    def _started(self) -> subprocess.Popen[str] | None:
        """In a session of its own, so that all it starts can be ended with it; None when this is closed already."""
        stub = (sys.executable, "-c", _DIES_WITH_ITS_PARENT, str(NICENESS), str(os.getpid()))
        with self._lock:
            if self._is_closed:
                return None
            self._process = subprocess.Popen(  # nosec B603 # words of ours and a model's name
                (*stub, *self._command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            return self._process

    def _change_over(self) -> None:
        opened = self._open_engine()
        if opened.runs_on == self._running:
            opened.backend.close()
            log.info("nothing faster was built; going on with %s", self._backbone.name)
            return
        try:
            _warm_up(opened.backend)
            self._backbone.swap(opened.backend, "built", opened.why, opened.precision)
        except EngineError:
            opened.backend.close()
            raise


def _warm_up(backend: Backend) -> None:
    """One call before frames depend on it: runtimes do much of their work in the first."""
    backend.infer({spec.name: np.zeros([size or 1 for size in spec.shape], spec.dtype) for spec in backend.inputs})


def _end(group: int) -> None:
    """Ask every process of the group to end, then insist: its leader may be gone while one that it started lives on."""
    _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while _signal(group, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Whether there was anybody to hear it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
