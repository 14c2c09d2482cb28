"""Logs to be tampered with, and the hands that do it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.evidence.chain import ChainLimits, ChainLog, log_files
from stream.evidence.chain_line import LOG_FOLDER


def opened(folder: Path, key: Path | None = None, **limits: Any) -> ChainLog:
    """The log of an evidence folder; no signature but those that lines or ``sign`` ask for."""
    chosen = ChainLimits(**{"sign_s": 3600.0, **limits})
    return ChainLog(folder / LOG_FOLDER, key or folder.parent / "keys" / "log.pem", chosen)


def written(folder: Path, count: int = 12, **limits: Any) -> list[Path]:
    """A closed log of ``count`` records; its files."""
    log = opened(folder, **limits)
    for number in range(count):
        log.append("note", {"number": number, "text": "grüße"})
    log.close()
    return log_files(folder / LOG_FOLDER)


def evidence(folder: Path, name: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """A finished evidence folder, and the record of it."""
    place = folder / name
    place.mkdir(parents=True)
    listed = []
    for file, content in files.items():
        (place / file).parent.mkdir(exist_ok=True)
        (place / file).write_bytes(content)
        listed.append({"name": file, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    manifest = json.dumps({"files": listed}).encode()
    (place / "manifest.json").write_bytes(manifest)
    return {"folder": name, "manifest_sha256": hashlib.sha256(manifest).hexdigest()}


def lines_of(files: list[Path]) -> list[bytes]:
    return [line for path in files for line in path.read_bytes().splitlines(keepends=True)]


def restore(files: Mapping[Path, bytes]) -> None:
    for path, content in files.items():
        path.write_bytes(content)


def kept(folder: Path) -> dict[Path, bytes]:
    """Every file of a log, to be put back."""
    return {path: path.read_bytes() for path in (folder / LOG_FOLDER).iterdir() if os.path.isfile(path)}
