"""One line of the log, byte for byte: what is hashed, what is signed, and what a line must be to be believed. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

JSON = Any
"""What JSON can say; anything else is refused when it is written."""

LONGEST_LINE = 1 << 20
"""Bytes, its end with it: a longer one is none of ours, and is not read into memory to find out."""
START = "0" * 64
"""Stands for the hash of the line before the first."""
FILES = "log-*.jsonl"
HEAD_FILE, PUBLIC_KEY_FILE, LOCK_FILE = "head.json", "public-key.pem", "lock"
HANDED_IN = "handed-in"
"""Folder below the log's: records of other processes, which the one that writes the log takes over."""
LARGEST_HANDED_IN, MOST_HANDED_IN = 1 << 14, 10_000
LOG_FOLDER = "log"
"""Of the log, below the evidence folder."""
SIGNATURE, TORN, CUT, EVIDENCE, PURGE = "signature", "torn", "cut", "evidence", "purge"
REFUSED = "refused"
"""Kinds that verification knows; all others are only part of the chain."""


class LineError(ValueError):
    """These bytes are no line of a log; the text says what is wrong with them."""


@dataclass(frozen=True)
class LogLine:
    """A line as written. ``hash`` is the SHA-256 of all the others in canonical JSON."""

    seq: int
    """Counts up from 1 through all files."""
    at: float
    """Wall time, seconds since the epoch."""
    since_s: float | None
    """Monotonic seconds since the line before; None for the first of a process."""
    kind: str
    record: Mapping[str, JSON]
    previous: str
    """``hash`` of the line before."""
    hash: str = ""

    def sealed(self) -> LogLine:
        """The same with its own hash."""
        return replace(self, hash=self.right_hash())

    def right_hash(self) -> str:
        fields = {key: value for key, value in vars(self).items() if key != "hash"}
        return hashlib.sha256(canonical(fields)).hexdigest()

    def to_bytes(self) -> bytes:
        return canonical(vars(self)) + b"\n"


def canonical(value: Any) -> bytes:
    """JSON in one spelling: keys sorted, no blanks, ASCII. Raises TypeError or ValueError for what JSON cannot say."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def line_from(text: bytes) -> LogLine:
    """The line that ``text`` (without its end) spells. Raises LineError; a wrong hash is left to the caller."""
    try:
        fields = json.loads(text)
        line = LogLine(**fields)
        is_ours = canonical(vars(line)) == text
    except (ValueError, TypeError, RecursionError):
        raise LineError("is not a line of this log") from None
    if not is_ours or not _has_right_types(line):
        raise LineError("is not spelled as it was written")
    return line


def _has_right_types(line: LogLine) -> bool:
    numbers = type(line.seq) is int and isinstance(line.at, float | int) and not isinstance(line.at, bool)
    since = line.since_s is None or isinstance(line.since_s, float | int)
    texts = all(isinstance(value, str) for value in (line.kind, line.previous, line.hash))
    return numbers and since and texts and isinstance(line.record, dict)


def signed_text(seq: int, head: str) -> bytes:
    """What a signature of the log up to line ``seq`` signs."""
    return f"unmask log 1\n{seq}\n{head}\n".encode()
