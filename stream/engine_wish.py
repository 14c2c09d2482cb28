"""One engine that is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.spec import ModelSpec
from engines.store import EngineKey


@dataclass(frozen=True, repr=False)
class Wish:
    """One engine that is wanted: its key is known without importing what builds it."""

    folder: Path | None
    """Of the model; None of a face detector."""
    file: str
    spec: ModelSpec | None
    key: EngineKey
    detector: str = ""
    source: Path | bytes = b""
    size: str = ""
    """``WxH`` of the pictures that a detector is given by runtimes that take one size only."""
    is_bonus: bool = False
    """Asked for by ``auto``: where it cannot be had, nothing is missing."""
