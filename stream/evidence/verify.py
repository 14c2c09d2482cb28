"""Is the log intact, and is all that it vouches for still there? Reads only, a line at a time.

A finding names its place: a line of the log by file and number, or a file of the evidence. After a broken line the
reading goes on from what that line says of itself, so that each break is told once, where it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stream.errors import UsageError
from stream.evidence.chain import log_files
from stream.evidence.chain_check import may_be_torn
from stream.evidence.chain_line import (
    CUT,
    EVIDENCE,
    HEAD_FILE,
    LOG_FOLDER,
    LONGEST_LINE,
    PUBLIC_KEY_FILE,
    PURGE,
    REFUSED,
    SIGNATURE,
    START,
    TORN,
    LineError,
    LogLine,
    line_from,
    signed_text,
)
from stream.evidence.folder_check import FolderCheck
from stream.evidence.handed_in import handed_in, is_vouched
from stream.evidence.signing import PublicKey, read_public_key

MOST_FINDINGS = 50
"""Kept in a report; the others are counted."""
CLOCK_SLACK_S = 5.0
"""Wall and monotonic time may differ by this much from one line to the next before it is told."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth a word."""

    where: str
    """``log-000001.jsonl:12``, or a path below the evidence folder."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Report:
    """What was found. ``is_intact`` is the answer."""

    lines: int = 0
    first_at: float | None = None
    last_at: float | None = None
    """Wall time of the first and last line, seconds since the epoch."""
    signed_to: int = 0
    """Number of the newest line that a right signature covers."""
    unsigned: int = 0
    """Lines after it: these could be cut off without a trace."""
    head: str = ""
    """Hash of the last line: to be kept elsewhere for ``--expect-head``."""
    key: str = ""
    """Fingerprint of the key that the signatures were checked with."""
    torn: int = 0
    """Lines that crashes cut short and that were closed and noted."""
    evidence_folders: int = 0
    evidence_files: int = 0
    purged: int = 0
    """Evidence folders that are gone, and whose removal is in the log."""
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0
    notes: list[Finding] = field(default_factory=list)
    """What proves nothing, but should be known."""

    @property
    def is_intact(self) -> bool:
        return not self.findings

    def find(self, where: str, what: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(where, what))
        else:
            self.more_findings += 1

    def note(self, where: str, what: str) -> None:
        if len(self.notes) < MOST_FINDINGS:
            self.notes.append(Finding(where, what))

    def to_json(self) -> dict[str, Any]:
        return {"intact": self.is_intact, **asdict(self)}


def verify(folder: Path, *, public_key: Path | None = None, expect_head: str | None = None) -> Report:
    """Check the log of an evidence folder (or a log's own folder) and the evidence beside it.

    ``public_key``: a copy kept elsewhere; None trusts the one beside the log. Raises UsageError when there is no log.
    """
    logs = folder / LOG_FOLDER if (folder / LOG_FOLDER).is_dir() else folder
    files = log_files(logs)
    if not files:
        raise UsageError(f"no log in {folder}: give the evidence.folder of a configuration")
    if expect_head is not None and not re.fullmatch("[0-9a-f]{64}", expect_head):
        raise UsageError(f"{expect_head!r} is no head: give --expect-head the 64 digits that unmask verify prints last")
    report = Report()
    key = _key_of(logs, public_key, report)
    evidence = FolderCheck(folder, report.find, report.note) if logs != folder else None
    reading = _Reading(report, key, logs, evidence, expect_head)
    for path in files:
        reading.read(path)
    reading.finish()
    return report


def _key_of(logs: Path, given: Path | None, report: Report) -> PublicKey | None:
    """The one given, or the one beside the log; these must be the same."""
    try:
        beside = read_public_key(logs / PUBLIC_KEY_FILE)
    except UsageError:
        beside = None
        report.find(PUBLIC_KEY_FILE, "the public key beside the log is missing or no key")
    key = beside if given is None else read_public_key(given)
    if key is not None and beside is not None and key.raw != beside.raw:
        report.find(PUBLIC_KEY_FILE, f"is {beside.fingerprint}, not the given key {key.fingerprint}")
    report.key = key.fingerprint if key else ""
    return key


@dataclass
class _Fragment:
    """Bytes that are no line; a ``torn`` record right after may explain them."""

    where: str
    what: str
    sha256: str
    may_be_torn: bool
    """Whether it looks as a crash leaves a line."""


class _Reading:
    """The chain, from its first line to its last."""

    def __init__(
        self,
        report: Report,
        key: PublicKey | None,
        logs: Path,
        evidence: FolderCheck | None,
        expect_head: str | None,
    ) -> None:
        self._logs = logs
        self._report, self._key, self._evidence = report, key, evidence
        self._expected, self._has_expected = expect_head, False
        self._seq, self._previous = 0, START
        self._is_lost = False
        """Whether the newest line was told to be changed: what it says of itself is not held against the next."""
        self._at: float | None = None
        self._fragment: _Fragment | None = None
        self._broken_since: str | None = None
        """Where the chain broke first after the newest right signature."""
        self._where = ""
        self._head = _head_of(logs)
        self._saw_head = False
        self._signatures = 0
        self._lacks_end = False
        self._is_open = False
        """Whether the newest line (not a fragment) lacks its end."""

    def read(self, path: Path) -> None:
        with path.open("rb") as file:
            for number, text in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
                self._where = f"{path.name}:{number}"
                self._take(text)

    def finish(self) -> None:
        """What can only be told at the end."""
        report = self._report
        self._settle_fragment(None)
        report.head = self._previous
        report.unsigned = max(0, self._seq - report.signed_to)
        self._check_head()
        if self._expected is not None and not self._has_expected:
            report.find(self._where, f"the log does not hold the expected head {self._expected}: its end was cut off")
        self._check_handed_in()
        if self._evidence is not None:
            self._evidence.finish()
            report.evidence_folders, report.evidence_files = self._evidence.folders, self._evidence.files
            report.purged = self._evidence.purged

    def _check_handed_in(self) -> None:
        """What waits to be written counts when the log's key has signed it; without that it is a forgery."""
        for given in handed_in(self._logs):
            where = f"{given.path.parent.name}/{given.path.name}"
            if self._key is None or not given.is_signed_by(self._key):
                self._report.find(where, "says that a folder was deleted, and is not signed by the log's key: forged")
            elif self._evidence is not None:
                self._evidence.handed_in(given.record, where)

    def _take(self, text: bytes) -> None:
        self._lacks_end = not text.endswith(b"\n")
        body = text.removesuffix(b"\n")
        try:
            line = line_from(body)
        except LineError as error:
            self._settle_fragment(None)
            self._fragment = _Fragment(self._where, str(error), hashlib.sha256(body).hexdigest(), may_be_torn(body))
            return
        self._settle_fragment(line)
        self._is_open = self._lacks_end
        self._check_chain(line)
        self._count(line)
        self._look_into(line)

    def _settle_fragment(self, after: LogLine | None) -> None:
        """A torn line is no break when the next one says so; at the very end it waits for the next start."""
        fragment, self._fragment = self._fragment, None
        if fragment is None:
            return
        if after is not None and after.kind == TORN and after.record.get("sha256") == fragment.sha256:
            self._report.torn += 1
            self._report.note(fragment.where, "torn by a crash, closed and noted at the next start")
        elif after is None and self._lacks_end and fragment.may_be_torn and fragment.where == self._where:
            self._report.note(fragment.where, "the last line is torn: a crash, or a cut; the next start closes it")
        else:
            self._break(fragment.where, f"{fragment.what}: it was changed")
            if after is None or after.seq != self._seq + 1:  # else it was put in, and the chain goes on around it
                self._lose()

    def _check_chain(self, line: LogLine) -> None:
        """One finding for a line, whatever else follows from that."""
        if line.right_hash() != line.hash:
            self._break(self._where, "was changed: its hash is another")
            self._lose()
            self._previous = line.hash
            return
        if line.seq != self._seq + 1:
            self._break(self._where, _told_gap(self._seq, line.seq))
            self._at = None
        elif line.previous != self._previous and not self._is_lost:
            self._break(self._where, f"does not follow line {self._seq}: that one was changed, or this one put in")
        self._seq, self._previous, self._is_lost = line.seq, line.hash, False

    def _lose(self) -> None:
        """A line is there and says nothing that can be believed: not which it is, not when, not what was before."""
        self._is_lost, self._at = True, None
        self._seq += 1
        if self._head is not None and self._seq == self._head.seq and not self._lacks_end:
            self._saw_head = True  # told already

    def _break(self, where: str, what: str) -> None:
        self._broken_since = self._broken_since or where
        self._report.find(where, what)

    def _count(self, line: LogLine) -> None:
        report = self._report
        report.lines += 1
        report.first_at = line.at if report.first_at is None else report.first_at
        if line.since_s is not None and self._at is not None:
            drift = line.at - self._at - line.since_s
            if abs(drift) > CLOCK_SLACK_S:
                report.note(self._where, f"the clock was set {'on' if drift > 0 else 'back'} by {abs(drift):.0f} s")
        report.last_at = line.at
        self._at = None if self._is_lost else line.at
        if self._expected == line.hash:
            self._has_expected = True
        if self._head is not None and line.seq == self._head.seq and line.hash == self._head.digest:
            self._saw_head = True

    def _look_into(self, line: LogLine) -> None:
        record = line.record
        if line.kind == SIGNATURE and self._is_lost:
            self._signatures += 1
        elif line.kind == SIGNATURE:
            self._check_signature(line)
        elif line.kind == CUT:
            self._check_cut(record)
        elif line.kind == REFUSED:
            self._report.note(self._where, "somebody handed in a deletion that the log's key had not signed: refused")
        elif line.kind == EVIDENCE and self._evidence is not None:
            self._evidence.recorded(record, self._where)
        elif line.kind == PURGE and self._key is not None and not is_vouched(PURGE, record, self._key):
            self._report.find(self._where, "says that a folder was deleted, and is not signed by the log's key: forged")
        elif line.kind == PURGE and self._evidence is not None:
            self._evidence.removed(record, self._where)

    def _check_signature(self, line: LogLine) -> None:
        record = line.record
        self._signatures += 1
        covers = record.get("covers"), record.get("head")
        signature, text = str(record.get("signature")), signed_text(line.seq - 1, line.previous)
        if covers != (line.seq - 1, line.previous):
            self._report.find(self._where, "signs another line than the one before it")
        elif self._key is None:
            return
        elif not self._key.has_signed(text, signature):
            self._report.find(self._where, self._told_wrong_key(record))
        elif self._broken_since is None:
            self._report.signed_to = line.seq - 1
        self._broken_since = None

    def _told_wrong_key(self, record: Mapping[str, Any]) -> str:
        since = self._report.signed_to + 1
        other = record.get("key")
        whose = f"by another key, {other}" if self._key and other != self._key.fingerprint else "wrongly"
        return f"is signed {whose}: lines from {since} on may all have been written anew"

    def _check_cut(self, record: Mapping[str, Any]) -> None:
        head = record.get("head")
        known = _Head.from_json(head) if isinstance(head, dict) else None
        if known is None:
            self._report.find(self._where, f"{HEAD_FILE} had been removed before this start: the end may be cut off")
        else:
            self._report.find(self._where, f"signed lines up to {known.seq} were gone before this start: cut off")

    def _check_head(self) -> None:
        head, report = self._head, self._report
        if head is None:
            if self._signatures > 1:
                report.find(HEAD_FILE, "is missing or unreadable: the log's end may be cut off")
            return
        if self._key is not None and not self._key.has_signed(signed_text(head.seq, head.digest), head.signature):
            report.find(HEAD_FILE, "is not signed by this key: the log's end may be cut off")
        elif not self._saw_head:
            there = f"its last line is {self._seq}" if self._seq < head.seq else "that line is another now"
            report.find(self._where, f"the log was signed up to line {head.seq}, but {there}: its end was cut off")
        elif self._is_open and self._seq <= head.seq:
            report.find(self._where, "its line end was removed")
        elif not report.findings:
            report.signed_to = max(report.signed_to, head.seq)
            report.unsigned = self._seq - report.signed_to


@dataclass(frozen=True)
class _Head:
    """The newest line that was signed, as the file beside the log says."""

    seq: int
    digest: str
    signature: str

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> _Head | None:
        seq, digest, signature = (fields.get(key) for key in ("seq", "hash", "signature"))
        if type(seq) is not int or not isinstance(digest, str) or not isinstance(signature, str):
            return None
        return cls(seq, digest, signature)


def _head_of(logs: Path) -> _Head | None:
    try:
        with (logs / HEAD_FILE).open("rb") as file:
            fields = json.loads(file.read(LONGEST_LINE))
    except (OSError, ValueError, RecursionError):
        return None
    return _Head.from_json(fields) if isinstance(fields, dict) else None


def _told_gap(before: int, now: int) -> str:
    if now <= before:
        return f"line {now} comes after line {before}: lines were put in, doubled or moved"
    missing = f"line {before + 1} is" if now == before + 2 else f"lines {before + 1} to {now - 1} are"
    return f"is line {now} after line {before}: {missing} missing"


def report_lines(report: Report) -> Iterator[str]:
    """For people: the answer first."""
    if report.is_intact:
        yield f"intact: {_counted(report.lines, 'line')}, {_when(report.first_at)} to {_when(report.last_at)}"
    else:
        count = len(report.findings) + report.more_findings
        yield f"NOT INTACT: {_counted(count, 'finding')}, the first at {report.findings[0].where}"
    yield from (f"  {finding}" for finding in report.findings)
    if report.more_findings:
        yield f"  and {report.more_findings} more"
    yield f"signed: {_signed_words(report)}"
    if report.unsigned:
        yield f"not signed yet: {_counted(report.unsigned, 'line')}, which could be cut off without a trace"
    folders, files = _counted(report.evidence_folders, "folder"), _counted(report.evidence_files, "file")
    yield f"evidence: {folders}, {files}; {_counted(report.purged, 'folder')} purged"
    yield from (f"note: {note}" for note in report.notes)
    yield f"head: {report.head}"


def _signed_words(report: Report) -> str:
    return f"up to line {report.signed_to} by {report.key}" if report.signed_to else "nothing"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _when(at: float | None) -> str:
    if at is None:
        return "never"
    try:
        return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return "a time that is none"
