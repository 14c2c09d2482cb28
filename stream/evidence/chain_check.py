"""May a log be gone on with? Its newest file alone, so that a start does not wait for years of lines."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from stream.evidence.chain_line import LONGEST_LINE, SIGNATURE, START, TORN, LineError, LogLine, line_from, signed_text
from stream.evidence.signing import PublicKey

BEGINNING = b'{"at":'
"""Of every line: what a crash leaves of one begins so, too."""


def may_be_torn(text: bytes) -> bool:
    """Whether a crash in the middle of a write can leave this: a line's beginning, or a page that was never written."""
    return text.startswith(BEGINNING[: len(text)]) or not text.strip(b"\0")


def broken_at(files: list[Path], key: PublicKey) -> tuple[Path, int] | None:
    """The first place, file and line, where the newest file that holds something does not go on from what is before.

    ``files``: in order. A line that a crash tore is no break, be it closed already or still open. Raises OSError.
    """
    filled = [path for path in files if path.stat().st_size]
    if not filled:
        return None
    before = _last_line(filled[-2]) if len(filled) > 1 else LogLine(0, 0.0, None, "", {}, "", START)
    if before is None:
        return filled[-2], _count(filled[-2])
    number = _first_break(filled[-1], before, key)
    return None if number is None else (filled[-1], number)


def _first_break(path: Path, before: LogLine, key: PublicKey) -> int | None:
    fragment: bytes | None = None
    number = 0
    for number, text in enumerate(_texts(path), 1):
        line = _line(text)
        if fragment is not None and not _closes(line, fragment):
            return number - 1
        if line is None:
            fragment = text
            continue
        if not _follows(line, before) or not _is_rightly_signed(line, key):
            return number
        before, fragment = line, None
    if fragment is None or (may_be_torn(fragment) and not fragment.endswith(b"\n")):
        return None
    return number


def _texts(path: Path) -> Iterator[bytes]:
    """Lines with their ends."""
    with path.open("rb") as file:
        yield from iter(lambda: file.readline(LONGEST_LINE), b"")


def _line(text: bytes) -> LogLine | None:
    try:
        return line_from(text.removesuffix(b"\n"))
    except LineError:
        return None


def _closes(line: LogLine | None, fragment: bytes) -> bool:
    digest = hashlib.sha256(fragment.removesuffix(b"\n")).hexdigest()
    return line is not None and line.kind == TORN and line.record.get("sha256") == digest


def _follows(line: LogLine, before: LogLine) -> bool:
    return line.right_hash() == line.hash and (line.seq, line.previous) == (before.seq + 1, before.hash)


def _is_rightly_signed(line: LogLine, key: PublicKey) -> bool:
    """Lines that are no signature are."""
    text = signed_text(line.seq - 1, line.previous)
    return line.kind != SIGNATURE or key.has_signed(text, str(line.record.get("signature")))


def _last_line(path: Path) -> LogLine | None:
    """Of a file that is full; None when its end is no line."""
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_LINE))
        content = file.read(LONGEST_LINE)
    line = _line(content.removesuffix(b"\n").rpartition(b"\n")[2])
    return line if line is not None and line.right_hash() == line.hash else None


def _count(path: Path) -> int:
    return sum(1 for _ in _texts(path))
