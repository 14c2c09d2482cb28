"""What must go: which evidence is too old or too much, and which one a purge asks for. Choices are pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.store import sha256_of
from stream.evidence.folders import (
    MANIFEST,
    NAME,
    WRITING,
    KeptFolder,
    alert_id_in,
    kept,
    remove,
)

DAY_S = 86_400.0
Record = Callable[[str, Mapping[str, Any]], None]
"""Appends to the log that cannot be edited."""


def no_record(_kind: str, _entry: Mapping[str, Any]) -> None:
    """Where there is no log."""


@dataclass(frozen=True)
class Limits:
    """Of a whole evidence folder."""

    keep_days: float
    keep_bytes: int


@dataclass(frozen=True)
class Wish:
    """Which evidence a purge is to delete: all that is named must hold; nothing named takes none."""

    older_than_days: float | None = None
    stream: str | None = None
    alert: str | None = None
    takes_all: bool = False


def overdue(folders: Sequence[KeptFolder], now: float, limits: Limits) -> list[KeptFolder]:
    """Those that must go, oldest first. ``folders``: oldest first; ``now``: wall time."""
    young = [folder for folder in folders if now - folder.at <= limits.keep_days * DAY_S]
    total, crowd = sum(folder.size for folder in young), list[KeptFolder]()
    for folder in young:
        if total <= limits.keep_bytes:
            break
        crowd.append(folder)
        total -= folder.size
    staying = {folder.name for folder in young[len(crowd) :]}
    return [folder for folder in folders if folder.name not in staying]


def wished(folders: Iterable[KeptFolder], wish: Wish, now: float, alert_of: Callable[[str], str]) -> list[KeptFolder]:
    """Those that a purge is to delete. ``alert_of``: a folder's name -> the whole id of its alert."""
    if wish == Wish():
        return []
    return [folder for folder in folders if _is_wished(folder, wish, now, alert_of)]


def _is_wished(folder: KeptFolder, wish: Wish, now: float, alert_of: Callable[[str], str]) -> bool:
    if wish.older_than_days is not None and now - folder.at <= wish.older_than_days * DAY_S:
        return False
    if wish.stream is not None and stream_of(folder.name) != wish.stream:
        return False
    return wish.alert is None or wish.alert in (folder.name, alert_of(folder.name))


def stream_of(name: str) -> str | None:
    """Of the stream that a folder is of."""
    found = NAME.fullmatch(name)
    return None if found is None else found[2]


def delete(root: Path, folders: Sequence[KeptFolder], record: Record, why: str) -> list[KeptFolder]:
    """Delete them and have it recorded before each goes, so that nobody takes it for tampering; what was deleted.

    One that is not whole stands in no record yet: it goes first, and whoever writes it finds it gone and lets it be.

    ``why``: ``age or size`` or ``asked for``. Raises OSError at the first that cannot be deleted.
    """
    gone = []
    for folder in folders:
        entry = _purged(root, folder, why)
        if not folder.is_whole and _is_removed(root, f"{WRITING}{folder.name}"):
            record("purge", entry)
            gone.append(folder)
            continue
        record("purge", entry)
        if _is_removed(root, folder.name):
            gone.append(folder)
    return gone


def _is_removed(root: Path, name: str) -> bool:
    """False when somebody else was faster."""
    try:
        remove(root, name)
    except FileNotFoundError:
        return False
    return True


def _purged(root: Path, folder: KeptFolder, why: str) -> dict[str, Any]:
    try:
        digest = sha256_of(root / folder.name / MANIFEST)
    except OSError:
        digest = ""
    return {
        "folder": folder.name,
        "alert": alert_id_in(root, folder.name),
        "manifest_sha256": digest,
        "bytes": folder.size,
        "why": why,
    }


def sweep(root: Path, now: float, limits: Limits, record: Record) -> tuple[list[KeptFolder], int]:
    """Delete what is overdue; what was, and the bytes that are kept now. Raises OSError."""
    folders = kept(root)
    gone = delete(root, overdue(folders, now, limits), record, "age or size")
    left = sum(folder.size for folder in folders) - sum(folder.size for folder in gone)
    return gone, left
