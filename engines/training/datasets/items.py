"""What every data set is made of, whatever its layout."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.training.errors import TrainingError

VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_FAKE, _REAL = {"fake", "1", "true"}, {"real", "0", "false"}
DFDC_SPLITS = (("train", range(35)), ("val", range(35, 40)), ("test", range(40, 50)))
"""The published split of DFDC's 50 parts (Bonettini et al. 2020)."""


@dataclass(frozen=True)
class LabelledItem:
    """One video or picture."""

    path: Path
    """Of the file, or of the zip that holds it."""
    kind: Literal["video", "image"]
    label: int
    """1 = fake."""
    source: str
    """The real video that it was made from, itself for a real: all of one source belong in one split."""
    split: str | None
    """``train``, ``val``, ``test``, or None where nobody has published one."""
    manipulation: str
    """How it was forged, ``real`` for a real, ``fake`` where that is not told."""
    name: str
    """Its own in the data set, without the extension."""
    compression: str | None = None
    """``raw``, ``c23`` or ``c40`` where the data set has several."""
    member: str | None = None
    """Its name inside the zip."""

    def read_bytes(self) -> bytes:
        """The file's content. Raises TrainingError."""
        try:
            if self.member is None:
                return self.path.read_bytes()
            with zipfile.ZipFile(self.path) as packed:
                return packed.read(self.member)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise TrainingError(f"{self.path} cannot be read ({error}): unpack the data set again") from None


@dataclass(frozen=True)
class Listing:
    """What a reader found."""

    items: tuple[LabelledItem, ...]
    missing: int = 0
    """Rows of the data set's own tables whose file is not there."""

    def of_split(self, split: str | None) -> Listing:
        """The items of one split; all of them for None. Raises TrainingError where there are none."""
        if split is None:
            return self
        chosen = tuple(item for item in self.items if item.split == split)
        if not chosen:
            there = ", ".join(sorted({item.split or "none" for item in self.items}))
            raise TrainingError(f"no items in the split {split!r}: this set has {there}")
        return Listing(chosen, self.missing)


def listing_of(items: Sequence[LabelledItem], root: Path, expected: str, missing: int = 0) -> Listing:
    """Sorted by name. Raises TrainingError where nothing was found."""
    if not items:
        raise TrainingError(f"nothing to read under {root}: expected {expected}")
    return Listing(tuple(sorted(items, key=lambda item: (item.name, str(item.path)))), missing)


def files_in(folder: Path, extensions: frozenset[str] = VIDEOS) -> list[Path]:
    """Files of these kinds directly in a folder, sorted; none where the folder is not there."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in extensions and path.is_file())


def label_is_fake(text: str | None) -> bool:
    """``FAKE`` or 1, ``REAL`` or 0. Raises TrainingError for anything else."""
    word = (text or "").strip().lower()
    if word not in _FAKE | _REAL:
        raise TrainingError(f"a label is {text!r}: write FAKE or REAL")
    return word in _FAKE


def dfdc_split(part: int | None) -> str | None:
    """The published split of a DFDC part."""
    return next((split for split, parts in DFDC_SPLITS if part in parts), None)
