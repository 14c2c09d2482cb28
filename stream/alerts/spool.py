"""Messages that wait on disk until their sink has them: one file for each message and sink, in order, within bounds.

    intake/   a message that is being handed to its sinks: it is whole here before any of them has it
    to/SINK/  what waits for a sink, oldest first by its number
    refused/SINK/  what a sink will never take: kept for people to look at
    firing/   alerts that have not resolved: what a killed run leaves here, the next one resolves
    lock      held by the run that uses the folder

A file appears under its name whole or not at all, and is on the disk then. A process that is killed at any point loses
no message whose ``add`` has returned, and none is given twice unless the kill came between a send and its ``done``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engines.whole_file import PRIVATE, SUFFIX, sync_folder, write_whole
from stream.alerts.alert import Alert, AlertState, Severity
from stream.alerts.message import decoded, encoded, key_of
from stream.errors import OutputError

log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{20})-[0-9A-Za-z_-]+\.json")
GRAVITY = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
KEPT_REFUSED = 1000
"""Refused messages kept of a sink."""


@dataclass(frozen=True)
class SpoolLimits:
    """Of each sink; the oldest message goes when one is passed."""

    messages: int = 10_000
    bytes: int = 32 * 2**20


@dataclass(frozen=True)
class Waiting:
    """A message that waits for a sink."""

    number: int
    name: str
    bytes: int
    alert: Alert | None = None
    """Only where the disk would not take it: it waits in memory."""


class Spool:
    """``add`` belongs to one thread; each sink's messages are taken by one other. Raises OutputError when opened."""

    def __init__(
        self,
        folder: Path,
        sinks: Mapping[str, Severity],
        limits: SpoolLimits,
        on_dropped: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``sinks``: their names, each with the least severity that it is told of.

        ``on_dropped`` is told the sink of each message that was given up for want of room.
        """
        self._sinks, self._folder, self._limits, self._on_dropped = dict(sinks), folder, limits, on_dropped
        self._guard = threading.Lock()
        self._waiting: dict[str, OrderedDict[int, Waiting]] = {sink: OrderedDict() for sink in sinks}
        self._out: dict[str, int] = {}
        """The message that a sink is being sent right now: it is not dropped."""
        self._lock = -1
        try:
            self._make_folders()
            self._lock = _locked(folder / "lock")
            self._recover()
        except OSError as error:
            self.close()
            raise OutputError(
                f"alerts cannot wait in {folder} ({error.strerror}): name another folder in alerts.spool"
            ) from error

    def left_firing(self) -> tuple[Alert, ...]:
        """Alerts of an earlier run that never said how they ended."""
        files = sorted((self._folder / "firing").glob("*.json"))
        return tuple(alert for file in files if (alert := _read(file)) is not None)

    def add(self, alert: Alert) -> tuple[str, ...]:
        """Keep a message for each sink that is to be told, and name them; once it returns, a kill loses none of them.

        A disk that takes nothing is logged, and the message waits in memory.
        """
        body, number, sinks = encoded(alert), self._next_number, self._told_of(alert)
        self._next_number += 1
        name = f"{number:020d}-{key_of(alert)}.json"
        try:
            self._hand_out(alert, name, body)
            kept = None
        except OSError as error:
            log.error("an alert cannot be kept in %s (%s): it waits in memory", self._folder, error.strerror)
            with suppress(OSError):
                (self._folder / "intake" / name).unlink(missing_ok=True)
            kept = alert
        with self._guard:
            for sink in sinks:
                self._waiting[sink][number] = Waiting(number, name, len(body), kept)
        for sink in sinks:
            self._keep_within(sink)
        return sinks

    def oldest(self, sink: str) -> tuple[Waiting, Alert] | None:
        """What the sink is to be sent next; it stays until it is ``done`` or refused."""
        while True:
            with self._guard:
                waiting = next(iter(self._waiting[sink].values()), None)
                self._out[sink] = waiting.number if waiting is not None else -1
            if waiting is None:
                return None
            alert = waiting.alert or _read(self._file(sink, waiting))
            if alert is not None:
                return waiting, alert
            log.error("a message for %s is damaged or gone: %s", sink, waiting.name)
            self.refuse(sink, waiting)

    def done(self, sink: str, waiting: Waiting) -> None:
        """The sink has it."""
        with suppress(OSError):
            self._file(sink, waiting).unlink(missing_ok=True)
            sync_folder(self._folder / "to" / sink)
        self._forget(sink, waiting)

    def refuse(self, sink: str, waiting: Waiting) -> None:
        """The sink will never take it."""
        folder = self._folder / "refused" / sink
        with suppress(OSError):
            self._file(sink, waiting).replace(folder / waiting.name)
            for old in sorted(folder.glob("*.json"))[:-KEPT_REFUSED]:
                old.unlink(missing_ok=True)
        self._forget(sink, waiting)

    def count(self, sink: str) -> int:
        """Messages that wait for the sink."""
        with self._guard:
            return len(self._waiting[sink])

    def close(self) -> None:
        """Let another run have the folder; what waits stays."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _make_folders(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for inner in ("intake", "firing", *(f"{kind}/{sink}" for kind in ("to", "refused") for sink in self._waiting)):
            (self._folder / inner).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _recover(self) -> None:
        """Finish what a killed run began, and find what waits."""
        for half in (half for place in ("*", "to/*") for half in self._folder.glob(f"{place}/*{SUFFIX}")):
            half.unlink(missing_ok=True)
        for file in sorted((self._folder / "intake").glob("*.json")):
            alert = _read(file)
            if alert is None:
                log.error("an alert was damaged on the disk and is lost: %s", file)
            else:
                self._hand_on(alert, file.name, file.read_bytes())
            file.unlink(missing_ok=True)
        sync_folder(self._folder / "intake")
        self._next_number = 1 + max((number for number, _ in _messages(self._folder.glob("*/*/*.json"))), default=0)
        for sink, waiting in self._waiting.items():
            for number, file in sorted(_messages((self._folder / "to" / sink).glob("*.json"))):
                waiting[number] = Waiting(number, file.name, file.stat().st_size)
            self._keep_within(sink)
        self._tell_orphans()

    def _tell_orphans(self) -> None:
        for folder in sorted((self._folder / "to").iterdir()):
            if folder.name not in self._waiting and (count := len(list(folder.glob("*.json")))):
                log.warning("%d alerts wait in %s for a sink that is configured no more", count, folder)

    def _hand_out(self, alert: Alert, name: str, body: bytes) -> None:
        """First whole in one place, then in all others, then gone from the first: nothing lies half handed out."""
        intake = self._folder / "intake" / name
        write_whole(intake, body, PRIVATE)
        self._hand_on(alert, name, body)
        intake.unlink()
        sync_folder(intake.parent)

    def _hand_on(self, alert: Alert, name: str, body: bytes) -> None:
        for sink in self._told_of(alert):
            self._place(name, self._folder / "to" / sink / name, body)
        record = self._folder / "firing" / f"{alert.id}.json"
        if alert.state is AlertState.FIRING:
            self._place(name, record, body)
        else:
            record.unlink(missing_ok=True)
            sync_folder(record.parent)

    def _told_of(self, alert: Alert) -> tuple[str, ...]:
        return tuple(sink for sink, least in self._sinks.items() if GRAVITY[alert.severity] >= GRAVITY[least])

    def _place(self, name: str, target: Path, body: bytes) -> None:
        """A second name for the file in the intake; where the file system has no such thing, a copy."""
        try:
            os.link(self._folder / "intake" / name, target)
            sync_folder(target.parent)
        except FileExistsError:
            return
        except OSError:
            write_whole(target, body, PRIVATE)

    def _keep_within(self, sink: str) -> None:
        """Drop the oldest messages that are too many; each is counted."""
        dropped = []
        with self._guard:
            waiting = self._waiting[sink]
            size = sum(one.bytes for one in waiting.values())
            for one in [one for one in waiting.values() if one.number != self._out.get(sink)]:
                if len(waiting) <= self._limits.messages and size <= self._limits.bytes:
                    break
                dropped.append(waiting.pop(one.number))
                size -= one.bytes
        for one in dropped:
            with suppress(OSError):
                self._file(sink, one).unlink(missing_ok=True)
            log.error("too many alerts wait for %s: the oldest is given up (%s)", sink, one.name)
            self._on_dropped(sink)

    def _forget(self, sink: str, waiting: Waiting) -> None:
        with self._guard:
            self._waiting[sink].pop(waiting.number, None)

    def _file(self, sink: str, waiting: Waiting) -> Path:
        return self._folder / "to" / sink / waiting.name


def _locked(path: Path) -> int:
    """A descriptor that holds the lock until it is closed, be it by the process's end. Raises OutputError."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise OutputError(f"{path.parent} is used by another run: name another folder in alerts.spool") from error
    return lock


def _messages(files: Iterator[Path]) -> Iterator[tuple[int, Path]]:
    """Ours among the files, with their numbers."""
    return ((int(found[1]), file) for file in files if (found := _NAME.fullmatch(file.name)))


def _read(file: Path) -> Alert | None:
    """None when it is gone or damaged."""
    try:
        return decoded(file.read_bytes())
    except (OSError, ValueError):
        return None
