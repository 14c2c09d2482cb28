"""Folders that engines are built in: hidden, named after their builder, and removed when it is gone."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

PREFIX = ".building-"


def building_folder(parent: Path) -> Path:
    """A new one of this process."""
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent, prefix=f"{PREFIX}{os.getpid()}-"))


def leftovers(root: Path) -> list[Path]:
    """Those whose builder was killed; one that is at work is left alone."""
    return sorted(path for path in root.glob(f"*/{PREFIX}*") if path.is_dir() and not _is_at_work(path))


def clear_leftovers(root: Path) -> None:
    for folder in leftovers(root):
        shutil.rmtree(folder, ignore_errors=True)


def _is_at_work(folder: Path) -> bool:
    number = folder.name.removeprefix(PREFIX).partition("-")[0]
    if not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
