"""When the canary sings, who is told, and what silence means: a thread of its own, for it writes and waits."""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from stream.alerts.alert import Alert, AlertKind, AlertState, Severity
from stream.canary.answers import Result
from stream.canary.clips import CanaryClip
from stream.errors import MissingPartError
from stream.types import StreamName

log = logging.getLogger(__name__)

DEADLINE_S = 180.0
"""From asking to an answer; a pass takes seconds where the machine keeps up."""
AGAIN_S = 60.0
"""After a wrong answer, or none, it is asked again this soon, and so are clips that could not be made."""

Ask = Callable[[int, str, Sequence[CanaryClip]], None]


class ClipSource(Protocol):
    """Where the clips come from."""

    def load(self) -> Sequence[CanaryClip]:
        """May take seconds. Raises MissingPartError when there are none, or it was cancelled."""

    def cancel(self) -> None:
        """From another thread: they are wanted no more."""


@dataclass(frozen=True)
class Told:
    """Whom a result goes to, on the canary's thread."""

    condition: Callable[[bool, str], None]
    """Whether the engines answer rightly, and one line."""
    show: Callable[[bool, Mapping[str, float]], None]
    """The same as numbers: clip -> fake probability."""
    record: Callable[[str, Mapping[str, Any]], None]
    """The log."""
    alert: Callable[[Alert], None]


class CanaryKeeper:
    """Asks at start, every so often, and when the runtime has changed. ``done`` takes the answers, from any thread."""

    def __init__(
        self,
        source: ClipSource,
        told: Told,
        *,
        every_s: float,
        model: str,
        deadline_s: float = DEADLINE_S,
        again_s: float = AGAIN_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._source, self._told, self._model, self._now = source, told, model, now
        self._every_s, self._deadline_s, self._again_s = every_s, deadline_s, again_s
        self._results: queue.SimpleQueue[Result | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._is_closed = self._is_changed = False
        self._number = 0
        self._firing: Alert | None = None
        self._thread: threading.Thread | None = None

    def start(self, ask: Ask) -> None:
        """``ask``: begins a pass of the given number."""
        self._told.condition(False, "the canary has not answered yet")
        self._thread = threading.Thread(target=self._run, args=(ask,), name="canary", daemon=True)
        self._thread.start()

    def done(self, result: Result) -> None:
        self._results.put(result)

    def runtime_changed(self) -> None:
        """The next pass is at once: what answers now is not what answered before."""
        self._is_changed = True
        self._hurry.set()

    def close(self) -> None:
        """A second call does nothing."""
        self._is_closed = True
        self._hurry.set()
        self._results.put(None)
        self._source.cancel()
        if self._thread is not None:
            self._thread.join()

    def _run(self, ask: Ask) -> None:
        clips = self._clips()
        why = "start"
        while not self._is_closed:
            result = self._pass(ask, why, clips)
            if result is not None:
                self._tell(result)
                why = self._wait(self._every_s if result.is_right else min(self._again_s, self._every_s), result)

    def _clips(self) -> Sequence[CanaryClip]:
        """Asked for until there are some: without them nobody knows what the engines see, and nothing is ready."""
        said = ""
        while not self._is_closed:
            self._hurry.clear()
            try:
                return self._source.load()
            except MissingPartError as error:
                why = f"{error} (canary.enabled: off does without)"
            if not self._is_closed and why != said:
                log.error("canary: %s", why)
                self._told.condition(False, why)
                self._told.show(False, {})
                said = why
            if not self._is_closed:
                self._hurry.wait(self._again_s)
        return ()

    def _pass(self, ask: Ask, why: str, clips: Sequence[CanaryClip]) -> Result | None:
        """None when this is closed meanwhile."""
        self._number += 1
        self._hurry.clear()
        self._is_changed = False
        ask(self._number, why, clips)
        deadline = time.monotonic() + self._deadline_s
        while not self._is_closed:
            try:
                result = self._results.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                late = f"no answer within {self._deadline_s:.0f} s: the analysis hangs or is overloaded"
                return Result(self._number, why, (), failure=late)
            if result is not None and result.number == self._number:
                return result
        return None

    def _wait(self, seconds: float, last: Result) -> str:
        """Until the next pass; what that one is for."""
        self._hurry.wait(seconds)
        return "runtime changed" if self._is_changed else "time" if last.is_right else "again"

    def _tell(self, result: Result) -> None:
        said = ", ".join(f"{clip} {probability:.2f}" for clip, probability in result.probabilities.items())
        line = result.problem or f"told apart: {said} fake"
        if not result.is_right:
            log.error("canary: %s", line)
        self._told.condition(result.is_right, line)
        self._told.show(result.is_right, result.probabilities)
        self._told.record("canary", _record(result, self._model))
        self._change_alert(result, line)

    def _change_alert(self, result: Result, line: str) -> None:
        """Fires at the first wrong answer, resolves at the next right one."""
        now = self._now()
        if self._firing is None and not result.is_right:
            self._firing = self._alert(result, line, now)
            self._told.alert(self._firing)
        elif self._firing is not None and result.is_right:
            self._told.alert(replace(self._firing, state=AlertState.RESOLVED, changed_at=now, message=line))
            self._firing = None

    def _alert(self, result: Result, line: str, now: float) -> Alert:
        wrong = next((answer for answer in result.answers if answer.problem), None)
        return Alert(
            id=uuid.uuid4().hex,
            rule="canary",
            kind=AlertKind.CANARY,
            severity=Severity.CRITICAL,
            state=AlertState.FIRING,
            stream=StreamName(""),
            track_id=None,
            began_at=now,
            changed_at=now,
            fake_probability=wrong.fake_probability if wrong else None,
            message=f"the engines cannot be relied on: {line}",
            model=self._model,
            backend=result.backend,
        )


def _record(result: Result, model: str) -> dict[str, Any]:
    answers = {answer.clip: {"verdict": answer.verdict, "fake": answer.fake_probability} for answer in result.answers}
    told = {"right": result.is_right, "problem": result.problem, "why": result.why, "answers": answers}
    return {**told, "model": model, "backend": result.backend}
