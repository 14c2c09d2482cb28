"""What is of no use in the store of engines, and how it goes: nothing else is touched."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from engines.compile.leftovers import leftovers
from stream.engine_check import current, engine_folders
from stream.engine_sources import replaced, sources_here


def useless(root: Path, models: Sequence[str]) -> list[Path]:
    """Engines that do not fit or whose weights were replaced, damaged ones, and the rest of killed builds.

    Nothing but what is named as an engine, whatever folder is given. ``models``: folders to know besides those found by
    name.
    """
    sources = sources_here(models)
    kept = {folder for folder, manifest in current(root) if replaced(manifest.key, sources) is None}
    return [path for path in (*engine_folders(root), *leftovers(root)) if path not in kept]


def removed(folder: Path) -> str | None:
    """None when it is gone, else why it cannot be removed."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        return error.strerror or str(error)
    return None
