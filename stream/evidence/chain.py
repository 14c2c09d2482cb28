"""The log that cannot be quietly edited: JSON lines, each carrying the hash of the one before, signed at intervals.

Everything is said at once and kept: a line is written whole and synced before ``append`` returns, a line that a crash
cut short stays and is closed with a record of its own, and lines that a signature knows and the file does not are told.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engines.whole_file import PRIVATE, sync_folder, write_whole
from stream.errors import OutputError
from stream.evidence.chain_check import broken_at
from stream.evidence.chain_line import (
    CUT,
    FILES,
    HANDED_IN,
    HEAD_FILE,
    JSON,
    LOCK_FILE,
    LONGEST_LINE,
    PUBLIC_KEY_FILE,
    REFUSED,
    SIGNATURE,
    START,
    TORN,
    LineError,
    LogLine,
    canonical,
    line_from,
    signed_text,
)
from stream.evidence.folders import make_private
from stream.evidence.handed_in import MAY_BE_HANDED_IN, HandedIn, handed_in, sealed, vouched
from stream.evidence.signing import SigningKey, default_key_path, open_key, read_key

log = logging.getLogger(__name__)


BEFORE_HEAD = 2
"""Lines of a new log before its first head is on disk: a crash there leaves it without."""


LONGEST_NAME = 255
"""Characters of a folder's name that are repeated of somebody whom nobody believes."""
LOOK_S = 1.0
"""How often it looks for what was handed in."""


class LogHeldError(OutputError):
    """Another process writes this log."""


class BrokenLogError(OutputError):
    """Somebody has been at this log."""


class OtherKeyError(OutputError):
    """The log was signed with another key."""


@dataclass(frozen=True)
class ChainLimits:
    """When a file is full and when lines are signed."""

    file_bytes: int = 16 << 20
    sign_lines: int = 32
    """At most so many lines wait for a signature …"""
    sign_s: float = 30.0
    """… and none for longer than this."""


@dataclass(frozen=True)
class _End:
    """Where a log that is there already ends."""

    path: Path
    size: int
    last: LogLine | None
    """The last line that can be believed."""
    fragment: bytes = b""
    """What a crash left of a line."""
    lacks_end: bool = False
    """The last line is whole, but for its line end."""


class ChainLog:
    """Appends to the log in ``folder``. Safe from any thread; one process at a time."""

    def __init__(
        self,
        folder: Path,
        key_path: Path | None,
        limits: ChainLimits = ChainLimits(),
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Goes on where the log ends. ``key_path``: None takes the user's own.

        Raises OutputError with one line when the log cannot be written, or is another key's.
        """
        self._folder, self._limits = folder, limits
        self._now, self._monotonic = now, monotonic
        self._lock, self._wake = threading.Lock(), threading.Condition()
        self._key = open_key(key_path or default_key_path())
        self._file = -1
        self._said_at: float | None = None
        self._unsigned = 0
        self._is_closed = False
        self._refused = frozenset[str]()
        """SHA-256 of what was handed in, not believed, and said to be."""
        self._taken_over = frozenset[Path]()
        """What is written down and could not be deleted."""
        self._held = _lock(folder)
        try:
            self._open()
            self._take_over()
        except BaseException as error:
            self._let_go()
            if isinstance(error, OSError):
                raise OutputError(f"the log cannot be written to {folder}: {error.strerror}") from None
            raise
        self._signer = threading.Thread(target=self._sign_in_time, name="log", daemon=True)
        self._signer.start()

    @property
    def fingerprint(self) -> str:
        """Of the public key: whoever keeps it elsewhere can tell whether the log was signed again by another."""
        return self._key.public.fingerprint

    @property
    def head(self) -> str:
        """Hash of the newest line: kept elsewhere, it proves later that the log still holds everything up to it."""
        with self._lock:
            return self._last.hash

    def append(self, kind: str, record: Mapping[str, JSON]) -> None:
        """Write one line and sync it; signs when enough lines wait for it.

        Raises OutputError when it cannot be written: the log then ends with its last whole line.
        """
        with self._lock:
            if self._is_closed:
                raise OutputError("the log is closed: nothing more can be written to it")
            self._say(kind, vouched(kind, record, self._key) if kind in MAY_BE_HANDED_IN else record)
            if self._unsigned >= self._limits.sign_lines:
                self._sign()

    def sign(self) -> None:
        """Sign what no signature covers yet."""
        with self._lock:
            if self._unsigned and not self._is_closed:
                self._sign()

    def close(self) -> None:
        """Sign and let go of the folder; a second call does nothing."""
        with self._wake:
            self._wake.notify()
        with self._lock:
            if self._is_closed:
                return
            try:
                if self._unsigned:
                    self._sign()
            finally:
                self._is_closed = True
                self._let_go()

    def _let_go(self) -> None:
        for file in (self._file, self._held):
            if file >= 0:
                os.close(file)

    def _sign_in_time(self) -> None:
        signed, said = self._monotonic(), ""
        while not self._is_closed:
            with self._wake:
                self._wake.wait(min(LOOK_S, self._limits.sign_s))
            try:
                self._take_over()
                if self._monotonic() - signed >= self._limits.sign_s:
                    self.sign()
                    signed = self._monotonic()
            except OutputError:  # whoever appends next is told
                continue
            except Exception as error:  # top of the thread: a log must not cease to be signed silently
                if str(error) != said:
                    log.exception("the log in %s is not signed, in a way nobody foresaw; trying again", self._folder)
                said = str(error)

    def _take_over(self) -> None:
        """Write down what other processes have handed in and signed; what is no record of ours is left lying."""
        for given in handed_in(self._folder):
            if not given.is_signed_by(self._key.public):
                self._refuse(given)
                continue
            path = given.path
            is_new = path not in self._taken_over
            if is_new:
                with self._lock:
                    if self._is_closed:
                        return
                    self._say(given.kind, {**given.record, "signature": given.signature})
            self._taken_over |= {path}
            if self._is_deleted(path, is_new=is_new):
                self._taken_over -= {path}

    def _is_deleted(self, path: Path, *, is_new: bool) -> bool:
        """What cannot be deleted is not written down again, and is told once."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if is_new:
                log.error("%s is in the log and cannot be deleted (%s): delete it by hand", path, error.strerror)
            return False
        return True

    def _refuse(self, given: HandedIn) -> None:
        """Somebody without the key wants a deletion believed: that is said and written down, and the file kept."""
        if given.sha256 not in self._refused:
            log.error("%s is not signed by the log's key: a forged %s is refused", given.path, given.kind)
            folder = str(given.record.get("folder"))[:LONGEST_NAME]
            with self._lock:
                if self._is_closed:
                    return
                self._say(REFUSED, {"file": given.path.name, "sha256": given.sha256, "folder": folder})
            self._refused |= {given.sha256}
        with suppress(OSError):  # it stays, and is still not believed
            given.path.rename(given.path.with_suffix(".refused"))

    # What follows runs with the lock held, or before there is a second thread.

    def _open(self) -> None:
        end = _end_of(self._folder)
        if end is None:
            self._begin()
            return
        self._check_key()
        self._refuse_broken()
        self._last = end.last or LogLine(0, 0.0, None, "", {}, "", START)
        self._path, self._file = end.path, _append_to(end.path)
        self._mend(end)
        self._tell_cut()
        self.sign()

    def _begin(self) -> None:
        write_whole(self._folder / PUBLIC_KEY_FILE, self._key.public.to_pem(), PRIVATE)
        self._last = LogLine(0, 0.0, None, "", {}, "", START)
        self._path = _path_of(self._folder, 1)
        self._file = _append_to(self._path)
        self._say("log", {"format": 1, "key": self.fingerprint})
        self._sign()

    def _check_key(self) -> None:
        path = self._folder / PUBLIC_KEY_FILE
        known = path.read_bytes() if path.is_file() else None
        if known is None:
            log.warning("%s was missing and is written again: keep a copy elsewhere", path)
            write_whole(path, self._key.public.to_pem(), PRIVATE)
        elif known != self._key.public.to_pem():
            raise _other_key(self._folder, self._key)

    def _refuse_broken(self) -> None:
        """Nothing is signed on top of lines that somebody changed: it would look as if they were vouched for."""
        broken = broken_at(log_files(self._folder), self._key.public)
        if broken is not None:
            path, number = broken
            what = f"the log {path} is broken at line {number}"
            raise BrokenLogError(f"{what}: run unmask verify, and move the whole evidence folder away")

    def _mend(self, end: _End) -> None:
        """Close a line that a crash left open: what is there of it stays."""
        if end.lacks_end:
            log.warning("%s: the last line had no end: a crash; it is whole", end.path)
            self._write(b"\n")
        elif end.fragment:
            log.warning("%s: the last line is torn: a crash in the middle of a write; closed and noted", end.path)
            digest = hashlib.sha256(end.fragment).hexdigest()
            torn: dict[str, JSON] = {"file": end.path.name, "bytes": len(end.fragment), "sha256": digest}
            self._say(TORN, torn, before=b"\n")

    def _tell_cut(self) -> None:
        """Say so, for good, when the newest signature knows a line that is not there any more."""
        path = self._folder / HEAD_FILE
        try:
            head = json.loads(path.read_bytes()[:LONGEST_LINE])
            is_there = _holds(self._folder, int(head["seq"]), str(head["hash"]))
        except (OSError, ValueError, TypeError, KeyError):
            head, is_there = None, False
        if not is_there and self._last.seq > BEFORE_HEAD:
            log.error("%s: lines that were signed are gone: run unmask verify", self._folder)
            self._say(CUT, {"head": head})

    def _say(self, kind: str, record: Mapping[str, JSON], *, before: bytes = b"") -> None:
        now = self._monotonic()
        since = None if self._said_at is None else round(now - self._said_at, 3)
        line = LogLine(self._last.seq + 1, round(self._now(), 3), since, kind, record, self._last.hash)
        try:
            text = line.sealed().to_bytes()
        except (TypeError, ValueError) as error:
            raise OutputError(f"a {kind} record cannot be logged: {error}") from None
        if len(text) > LONGEST_LINE:
            raise OutputError(f"a {kind} record of {len(text)} bytes is too long to be logged")
        if before or not self._is_full(len(text)):
            self._write(before + text)
        else:
            self._turn_over(text)
        self._last, self._said_at = line.sealed(), now
        self._unsigned += 1

    def _is_full(self, more: int) -> bool:
        size = os.fstat(self._file).st_size
        return size > 0 and size + more > self._limits.file_bytes

    def _turn_over(self, text: bytes) -> None:
        """The chain goes on in the next file."""
        path = _path_of(self._folder, _number_of(self._path) + 1)
        try:
            opened = _append_to(path)
        except OSError as error:
            raise OutputError(f"the log cannot be written to {path}: {error.strerror}") from None
        before, self._file = self._file, opened
        try:
            self._write(text)
        except OutputError:
            os.close(self._file)
            self._file = before
            with suppress(OSError):  # it is empty, and taken up the next time
                path.unlink()
            raise
        os.close(before)
        self._path = path

    def _write(self, text: bytes) -> None:
        """At once and whole, or not at all."""
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, text) < len(text):
                raise OSError(28, "No space left on device")
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, size)
            raise OutputError(f"the log cannot be written to {self._path}: {error.strerror}") from None

    def _sign(self) -> None:
        """A line that signs all before it, then a file that signs that line too: cutting it off is found."""
        covered = self._last
        signature = self._key.sign(signed_text(covered.seq, covered.hash))
        signed: dict[str, JSON] = {"covers": covered.seq, "head": covered.hash, "signature": signature}
        self._say(SIGNATURE, {**signed, "key": self.fingerprint})
        last = self._last
        head = {"seq": last.seq, "hash": last.hash, "at": last.at, "key": self.fingerprint}
        try:
            text = canonical({**head, "signature": self._key.sign(signed_text(last.seq, last.hash))})
            write_whole(self._folder / HEAD_FILE, text + b"\n", PRIVATE)
        except OSError as error:
            raise OutputError(f"the log's head cannot be written to {self._folder}: {error.strerror}") from None
        self._unsigned = 0


def _other_key(folder: Path, key: SigningKey) -> OtherKeyError:
    return OtherKeyError(
        f"the log in {folder} is another key's, not {key.public.fingerprint}: "
        "set evidence.key to that one, or name another evidence.folder"
    )


def hand_in(folder: Path, key: SigningKey, kind: str, record: Mapping[str, JSON]) -> None:
    """For a process that may not write the log because another one does: that one will. Raises OutputError.

    ``key``: the log's own; with another one, or none, nobody believes it.
    """
    place = folder / HANDED_IN
    try:
        make_private(place)
        write_whole(place / f"{time.time_ns()}-{os.getpid()}.json", sealed(kind, dict(record), key), PRIVATE)
    except OSError as error:
        raise OutputError(f"a record cannot be handed in at {place}: {error.strerror}") from None


@dataclass(frozen=True)
class CommandRecord:
    """Appends to the log, or to what waits to be written into it."""

    append: Callable[[str, Mapping[str, JSON]], None]
    is_handed_in: bool = False
    """Whether it is in the log only once a watch has taken it."""

    def __call__(self, kind: str, record: Mapping[str, JSON]) -> None:
        self.append(kind, record)


@contextmanager
def open_record(folder: Path, key_path: Path | None) -> Iterator[CommandRecord]:
    """A command's way to the log: written at once, or signed and handed in for the watch that has the log.

    Where no log was ever begun nothing is recorded. Raises OutputError when the log's key cannot be read here, or the
    log cannot be written.
    """
    if not log_files(folder):
        yield CommandRecord(lambda _kind, _record: None)
        return
    key_path, chain = key_path or default_key_path(), None
    key = _own_key(folder, key_path)
    with suppress(LogHeldError):
        chain = ChainLog(folder, key_path)
    if chain is None:
        yield CommandRecord(partial(hand_in, folder, key), is_handed_in=True)
        return
    try:
        yield CommandRecord(chain.append)
    finally:
        chain.close()


def _own_key(folder: Path, path: Path) -> SigningKey:
    """The key that signs the log, for who is to vouch for a record. Raises OutputError."""
    try:
        key = read_key(path)
        beside = folder / PUBLIC_KEY_FILE
        if beside.is_file() and beside.read_bytes() != key.public.to_pem():
            raise _other_key(folder, key)
    except OutputError as error:
        raise type(error)(f"nothing is deleted, because no record of it can be signed: {error}") from None
    except OSError as error:
        raise OutputError(f"{error.filename} cannot be read ({error.strerror}): nothing is deleted") from None
    return key


def log_files(folder: Path) -> list[Path]:
    """In order."""
    return sorted(folder.glob(FILES))


def _path_of(folder: Path, number: int) -> Path:
    return folder / f"log-{number:06d}.jsonl"


def _number_of(path: Path) -> int:
    try:
        return int(path.stem.removeprefix("log-"))
    except ValueError:
        raise OutputError(f"{path} is no file of this log: move it away") from None


def _lock(folder: Path) -> int:
    """Held for as long as the descriptor is open: a process that dies lets go."""
    try:
        make_private(folder)
        file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputError(f"the log cannot be written to {folder}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise LogHeldError(f"another process writes the log in {folder}: give each its own evidence.folder") from None
    return file


def _append_to(path: Path) -> int:
    is_new = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if is_new:
        sync_folder(path.parent)
    return file


def _end_of(folder: Path) -> _End | None:
    """None when there is no log yet."""
    files = log_files(folder)
    for path in reversed(files):
        end = _end_in(path, is_last=path == files[-1])
        if end.last is not None or path == files[0]:
            newest = files[-1]
            return end if path == newest else _End(newest, newest.stat().st_size, end.last)
    return None


def _end_in(path: Path, *, is_last: bool) -> _End:
    last, rest = None, b""
    with path.open("rb") as file:
        for text in iter(lambda: file.readline(LONGEST_LINE), b""):
            line = _believed(text.removesuffix(b"\n"))
            last, rest = (line, b"") if line is not None else (last, text)
            if not text.endswith(b"\n") and is_last:
                size = path.stat().st_size
                return _End(path, size, last, fragment=rest, lacks_end=line is not None)
    return _End(path, path.stat().st_size, last)


def _believed(text: bytes) -> LogLine | None:
    try:
        line = line_from(text)
    except LineError:
        return None
    return line if line.right_hash() == line.hash else None


def _holds(folder: Path, seq: int, digest: str) -> bool:
    """Whether the log has this line; looks at the newest files first, where a signed head lies."""
    for path in reversed(log_files(folder)):
        found = next((line for line in _lines_of(path) if line.seq == seq), None)
        if found is not None:
            return found.hash == digest
    return False


def _lines_of(path: Path) -> Iterator[LogLine]:
    with path.open("rb") as file:
        for text in iter(lambda: file.readline(LONGEST_LINE), b""):
            line = _believed(text.removesuffix(b"\n"))
            if line is not None:
                yield line
