"""What a runtime's builder is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engines.store import Precision


@dataclass(frozen=True)
class BuildRequest:
    """How to build one graph, whose precision is in the graph already."""

    precision: Precision
    batches: tuple[int, ...]
    """Ascending: smallest, usual and largest."""
    workspace_bytes: int | None
    """Most scratch memory that a layer may take; None leaves it to the runtime."""
    options: Mapping[str, str]
    on_progress: Callable[[str, float], None]
    """Told a phase and its share that is done, 0-1."""


@dataclass(frozen=True)
class BuiltFiles:
    """An engine's files in the folder that it was built into."""

    engine_file: str
    files: tuple[str, ...]
    """All of them, with ``engine_file``."""
    toolchain: Mapping[str, str]
    """Versions and names for people."""
