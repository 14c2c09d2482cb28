"""Evidence on disk against what the log says of it: every file's bytes, nothing more and nothing less."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.store import sha256_of
from stream.evidence.chain_line import LOG_FOLDER
from stream.evidence.folders import MANIFEST, REMOVING, WRITING

LARGEST_MANIFEST = 16 << 20
FRESH_S = 600.0
"""A folder without a manifest that was touched this recently is one that is still being written."""

Tell = Callable[[str, str], None]
"""Takes where, and what."""


@dataclass(frozen=True)
class _Promise:
    """What the log says of one folder."""

    sha256: str
    """Of its manifest."""
    where: str


class FolderCheck:
    """Told of the log's records in order. Keeps what lies on disk or is missing, not every record there ever was."""

    def __init__(self, folder: Path, find: Tell, note: Tell, *, now: Callable[[], float] = time.time) -> None:
        self._folder, self._find, self._note, self._now = folder, find, note, now
        there = [path for path in sorted(folder.iterdir()) if _is_ours(path)]
        self._on_disk = {path.name: path for path in there if path.is_dir()}
        self._strays = [path.name for path in there if not path.is_dir()]
        self._promised: dict[str, _Promise] = {}
        self.folders = self.files = self.purged = 0

    def recorded(self, record: Mapping[str, Any], where: str) -> None:
        """A folder was finished, or written again: the newest record counts."""
        folder, sha256 = record.get("folder"), record.get("manifest_sha256")
        if not plain_name(folder) or not isinstance(sha256, str):
            self._find(where, "records evidence under a name that is none")
            return
        self._promised[str(folder)] = _Promise(sha256, where)

    def removed(self, record: Mapping[str, Any], where: str) -> None:
        """A folder was about to be deleted, by rule or because somebody asked; one that is there still counts."""
        folder = record.get("folder")
        if not plain_name(folder):
            self._find(where, "records a purge under a name that is none")
        elif folder in self._on_disk:
            self._note(str(folder), f"is there though {where} says that it was about to be deleted")
        else:
            self.purged += self._promised.pop(str(folder), None) is not None

    def handed_in(self, record: Mapping[str, Any], where: str) -> None:
        """A purge that the log does not hold yet, signed by its key."""
        folder = str(record.get("folder"))
        if folder not in self._on_disk and self._promised.pop(folder, None) is not None:
            self._note(folder, f"is gone, and its deletion was handed in ({where}) but is not in the log yet")

    def finish(self) -> None:
        for name, promise in self._promised.items():
            path = self._on_disk.pop(name, None)
            if path is None:
                self._find(name, f"is missing: recorded at {promise.where}, and no purge is in the log")
            else:
                self._check(path, promise)
        for name, path in self._on_disk.items():
            self._tell_unrecorded(name, path)

        for name in self._strays:
            self._find(name, "is not in the log: nobody recorded it")

    def _tell_unrecorded(self, name: str, path: Path) -> None:
        has_manifest = (path / MANIFEST).exists()
        if not has_manifest and self._now() - path.stat().st_mtime < FRESH_S:
            self._note(name, "is not in the log yet: it is being written")
        else:
            self._find(name, "is not in the log: nobody recorded it")

    def _check(self, folder: Path, promise: _Promise) -> None:
        self.folders += 1
        place = f"{folder.name}/{MANIFEST}"
        content = _manifest_bytes(folder / MANIFEST)
        if content is None:
            self._find(place, f"is missing or no plain file: recorded at {promise.where}")
            return
        if hashlib.sha256(content).hexdigest() != promise.sha256:
            self._find(place, f"was changed: its SHA-256 is not the one at {promise.where}")
            return
        listed = _listed(content)
        if listed is None:
            self._find(place, "lists its files in a way that cannot be read")
            return
        self._check_files(folder, listed)

    def _check_files(self, folder: Path, listed: Mapping[str, tuple[int, str]]) -> None:
        there = {str(path.relative_to(folder)) for path in _files_below(folder)} - {MANIFEST}
        for name in sorted(there - set(listed)):
            self._find(f"{folder.name}/{name}", "is not in the manifest: nobody recorded it")
        for name, (size, sha256) in listed.items():
            self.files += 1
            if (problem := _problem_of(folder / name, size, sha256)) is not None:
                self._find(f"{folder.name}/{name}", problem)


def plain_name(name: object) -> bool:
    """Whether it names something in a folder and nothing outside of it."""
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _is_ours(path: Path) -> bool:
    """A hidden name alone hides nothing."""
    return path.name != LOG_FOLDER and not path.name.startswith((WRITING, REMOVING))


def _manifest_bytes(path: Path) -> bytes | None:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_MANIFEST:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _listed(content: bytes) -> dict[str, tuple[int, str]] | None:
    """File name -> (bytes, SHA-256), from a manifest's ``files``; None when it is not of that form."""
    try:
        entries = json.loads(content)["files"]
        listed = {entry["name"]: (int(entry["bytes"]), str(entry["sha256"])) for entry in entries}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    are_plain = all(isinstance(name, str) and all(map(plain_name, name.split("/"))) for name in listed)
    return listed if are_plain and len(listed) == len(entries) else None


def _files_below(folder: Path) -> list[Path]:
    """Files and links, not followed."""
    found = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [Path(root) / name for name in (*files, *links)]
    return found


def _problem_of(path: Path, size: int, sha256: str) -> str | None:
    try:
        if path.is_symlink():
            return "is a link, not the file that was recorded"
        if not path.is_file():
            return "is missing"
        if path.stat().st_size != size:
            return f"has {path.stat().st_size} bytes, not {size}"
        return None if sha256_of(path) == sha256 else "was changed: its SHA-256 is not the recorded one"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
