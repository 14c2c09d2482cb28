"""The evidence folder on disk: one folder for each alert, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engines.store import sha256_of
from engines.whole_file import sync_folder
from stream.errors import OutputError

MANIFEST, TIMELINE = "manifest.json", "timeline.json"
WRITING, REMOVING = ".writing-", ".removing-"
"""How the name of a folder begins that is not whole: what is left of one is cleared at the next start."""
ALERT_FILE = ".alert"
"""Holds the alert's id while there is no manifest that does."""
NAME = re.compile(r"(\d{8}T\d{6}Z)-([A-Za-z0-9][A-Za-z0-9_.-]*)-([A-Za-z0-9]{1,8}(?:\.\d+)?)")
"""Anything else in the folder is not ours to delete."""
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class KeptFolder:
    """One alert's evidence."""

    name: str
    at: float
    """When the alert fired: wall time, from the name."""
    size: int
    """In bytes."""
    is_whole: bool = True
    """False while it is being written, or waits for that."""


@dataclass(frozen=True)
class KeptFile:
    """A file of an alert's folder, as its manifest names it."""

    name: str
    kind: str
    bytes: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "bytes": self.bytes, "sha256": self.sha256}


def folder_name(at: float, stream: str, alert_id: str) -> str:
    """Such as ``20261124T130501Z-lobby-1f3a9c07``."""
    stamp = datetime.fromtimestamp(at, timezone.utc).strftime(STAMP)
    short = re.sub(r"[^A-Za-z0-9]", "", alert_id)[:8] or "alert"
    return f"{stamp}-{stream}-{short}"


def time_of(name: str) -> float | None:
    """When the alert of a folder fired; None for a name that is none of ours."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1], STAMP).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def open_root(root: Path) -> None:
    """Make the folder, readable by its owner only, and clear what an earlier run left half done. Raises OutputError."""
    try:
        make_private(root)
        for entry in list(root.iterdir()):
            if entry.name.startswith((WRITING, REMOVING)) and entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
    except OSError as error:
        raise _unfit(root, error.strerror) from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise _unfit(root, "no permission to write")


def try_root(root: Path) -> None:
    """Raises OutputError where ``open_root`` would. Tried in it, or where it would be made; nothing stays."""
    there = next(one for one in (root, *root.absolute().parents) if one.exists())
    try:
        with TemporaryDirectory(prefix=WRITING, dir=there):
            pass
    except OSError as error:
        raise _unfit(root, error.strerror) from error


def _unfit(root: Path, reason: str | None) -> OutputError:
    return OutputError(f"evidence cannot be kept in {root} ({reason}): name another evidence.folder")


def make_private(folder: Path) -> None:
    """The folder and what of its parents is missing, for their owner only: ``parents=True`` would open those to all.

    Raises OSError.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


def kept(root: Path) -> list[KeptFolder]:
    """All whole folders, oldest first."""
    return _folders(root, "", is_whole=True)


def unfinished(root: Path) -> list[KeptFolder]:
    """Those that a running watch writes, or that wait for their clip's end, oldest first."""
    return _folders(root, WRITING, is_whole=False)


def _folders(root: Path, before: str, *, is_whole: bool) -> list[KeptFolder]:
    """Of those whose names begin with ``before``. Raises OSError."""
    try:
        entries = [entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except FileNotFoundError:
        return []
    named = ((entry, entry.name.removeprefix(before)) for entry in entries if entry.name.startswith(before))
    found = ((name, time_of(name), _size(entry)) for entry, name in named if time_of(name) is not None)
    folders = [KeptFolder(name, at, size, is_whole) for name, at, size in found if at is not None and size is not None]
    return sorted(folders, key=lambda folder: (folder.at, folder.name))


def alert_id_in(root: Path, name: str) -> str:
    """The whole id of a folder's alert, be it whole or not; empty where it cannot be read."""
    alert = read_manifest(root / name).get("alert")
    if isinstance(alert, dict):
        return str(alert.get("id", ""))
    try:
        return (root / f"{WRITING}{name}" / ALERT_FILE).read_text()
    except (OSError, ValueError):
        return ""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Of one alert's folder; empty when there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remove(root: Path, name: str) -> None:
    """Whole or not at all, for who looks: it is moved aside first. Raises OSError."""
    aside = root / f"{REMOVING}{name}"
    os.rename(root / name, aside)
    shutil.rmtree(aside)
    sync_folder(root)


class FolderBeingWritten:
    """A folder under a name that nobody takes for evidence, until ``finish``.

    Who takes it away before (a purge) has it not written: it is never made again, and what follows raises OSError.
    """

    def __init__(self, root: Path, name: str, alert_id: str = "") -> None:
        """Raises OSError."""
        self._root, self.name = root, name
        self.path = root / f"{WRITING}{name}"
        self._files: list[KeptFile] = []
        self._is_finished = False
        self.path.mkdir(mode=0o700)
        (self.path / ALERT_FILE).write_text(alert_id)

    @property
    def files(self) -> tuple[KeptFile, ...]:
        return tuple(self._files)

    @property
    def was_taken_away(self) -> bool:
        return not self._is_finished and not self.path.exists()

    def write(self, name: str, kind: str, data: bytes) -> None:
        """Raises OSError."""
        (self.path / name).write_bytes(data)
        self.add(name, kind)

    def add(self, name: str, kind: str) -> None:
        """A file that was written by somebody else. Raises OSError."""
        path = self.path / name
        path.chmod(0o600)
        _sync(path)
        self._files.append(KeptFile(name, kind, path.stat().st_size, sha256_of(path)))

    def finish(self, manifest: Mapping[str, Any]) -> str:
        """Write the manifest, then the folder gets its name; returns the manifest's SHA-256. Raises OSError."""
        data = as_json(manifest)
        path = self.path / MANIFEST
        path.write_bytes(data)
        path.chmod(0o600)
        _sync(path)
        (self.path / ALERT_FILE).unlink()
        sync_folder(self.path)
        os.rename(self.path, self._root / self.name)
        self._is_finished = True
        sync_folder(self._root)
        return hashlib.sha256(data).hexdigest()

    def abandon(self) -> None:
        """Nothing of it stays, unless it is finished."""
        shutil.rmtree(self.path, ignore_errors=True)


def as_json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _size(folder: Path) -> int | None:
    """None when somebody deletes it meanwhile."""
    try:
        return sum(_sizes(folder))
    except FileNotFoundError:
        return None


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            yield path.stat().st_size


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
