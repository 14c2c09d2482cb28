"""A command of the operator's own: it gets the alert on its standard input, and no shell sees anything."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess  # nosec B404 # a command is what this sender is for
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from stream.alerts.alert import Alert
from stream.alerts.message import encoded, key_of
from stream.alerts.sender import NotSentError, RefusedError
from stream.types import StreamName

log = logging.getLogger(__name__)

EX_DATAERR = 65
"""By sysexits.h: what it was given is no good, and will not be the next time."""
SHOWN_BYTES = 500
LOOK_S = 0.05
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""Of the environment, which also holds the cameras' passwords."""


class CommandSender:
    """Runs it once for each message, in a session of its own, so that all it started can be ended with it."""

    refresh_s = None

    def __init__(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 10.0,
        env: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """``env``: names of further variables that it gets."""
        self._argv, self._timeout_s = tuple(argv), timeout_s
        self._environment = {name: environment[name] for name in (*PASSED_ON, *env) if name in environment}

    def send(self, alert: Alert) -> None:
        deadline_s = time.monotonic() + self._timeout_s
        process = self._start(key_of(alert))
        try:
            _feed(process, encoded(alert))
            output = _output_until(process, deadline_s)
            has_ended = _ends_until(process, deadline_s)
        finally:
            code = _end(process)
        if not has_ended:
            raise NotSentError(f"the command took more than {self._timeout_s:g} s and was ended")
        _judge(code, output)

    def refresh(self, streams: Collection[StreamName]) -> None:
        """Nothing is forgotten."""

    def close(self) -> None:
        """Nothing is open."""

    def _start(self, key: str) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # nosec B603 # the configuration's own words, without a shell
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**self._environment, "UNMASK_ALERT": key},
                start_new_session=True,
            )
        except OSError as error:
            raise NotSentError(f"the command cannot be run ({error.strerror})") from None


def _feed(process: subprocess.Popen[bytes], body: bytes) -> None:
    """An alert fits into a pipe's buffer, so a command that reads nothing holds up nothing."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(body)
        with suppress(BrokenPipeError):
            process.stdin.close()


def _output_until(process: subprocess.Popen[bytes], deadline_s: float) -> str:
    """The first of what it says, until it ends: a child that it left behind may keep the pipe open."""
    if process.stdout is None:
        return ""
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline_s:
            if not selector.select(timeout=LOOK_S):
                if _has_ended(process):
                    break
                continue
            piece = os.read(process.stdout.fileno(), 65_536)
            if not piece:
                break
            said = (said + piece)[:SHOWN_BYTES]
    return " ".join(said.decode(errors="replace").split())


def _ends_until(process: subprocess.Popen[bytes], deadline_s: float) -> bool:
    while not _has_ended(process):
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(LOOK_S)
    return True


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Without burying it: until then nobody else gets its number, which is its group's."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes]) -> int:
    """End all that it started, and it; its exit code."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    return code


def _judge(code: int, output: str) -> None:
    said = f": {output}" if output else ""
    if code == EX_DATAERR:
        raise RefusedError(f"the command refused it with {code}{said}")
    if code != 0:
        raise NotSentError(f"the command ended with {code}{said}")
    if output:
        log.info("alert command: %s", output)
