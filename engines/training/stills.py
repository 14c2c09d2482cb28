"""Stills to measure on, in the layout of deepfake-faces: ``metadata.csv`` beside ``faces_224/`` or zips that hold it.

Unlike the training set's reader (``faces.py``) this one takes what it finds: pictures of any size, a set whose sources
lie in two splits (it says how many), pictures that are missing (it counts them). Pictures are read one after another
and never held all at once.
"""

from __future__ import annotations

import csv
import logging
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.jpeg import rgb_from_picture
from engines.training.datasets.deepfake_faces import known_parts, split_of
from engines.training.errors import TrainingError
from engines.training.scored import Item

T = TypeVar("T")

ALL = "all"
"""Names every row, whatever its split."""
FOLDER = "faces_224"
PICTURES = (".jpg", ".jpeg", ".png")
_FAKE, _REAL = {"fake", "1", "true"}, {"real", "0", "false"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Still:
    """One picture with its row."""

    item: Item
    rgb: NDArray[np.uint8]
    """(H, W, 3)"""
    file_bytes: int


@dataclass(frozen=True)
class StillSet:
    """The rows of a split."""

    root: Path
    items: tuple[Item, ...]
    leaking: int
    """Rows of the split whose source has rows in another split, too."""


def read_stills(root: Path, split: str) -> StillSet:
    """Rows of ``metadata.csv``: videoname, label, original and split; ``manipulation`` and ``video`` where it has them.

    Raises TrainingError when there is no such table, column, split or label.
    """
    rows = _with_splits(_table(root / "metadata.csv"), root)
    splits = sorted({row.get("split") or "" for row in rows})
    chosen = rows if split == ALL and ALL not in splits else [row for row in rows if (row.get("split") or "") == split]
    if not chosen:
        known = ", ".join(filter(None, splits)) or "none: there is no split column"
        raise TrainingError(f"no split {split!r} in {root / 'metadata.csv'} ({known}): name one of these, or {ALL}")
    items = tuple(_item(row) for row in chosen)
    elsewhere = {_source(row) for row in rows if (row.get("split") or "") != split}
    leaking = 0 if len(chosen) == len(rows) else sum(item.source in elsewhere for item in items)
    return StillSet(root, items, leaking)


def sample(items: tuple[T, ...], limit: int, seed: int = 0) -> tuple[T, ...]:
    """At most ``limit`` items, drawn at random, the same each time; 0 takes all."""
    if not limit or limit >= len(items):
        return items
    rows = np.sort(np.random.default_rng(seed).permutation(len(items))[:limit])
    return tuple(items[row] for row in rows)


def open_stills(root: Path, items: Iterable[Item]) -> Iterator[Still]:
    """Every item's picture that is there and can be decoded, once; of the others a line is logged each."""
    wanted = {item.name: item for item in items}
    for stem, data in _files(root, wanted):
        item, rgb = wanted.pop(stem), rgb_from_picture(data)
        if rgb is None:
            log.warning("the picture of %s is damaged and left out: copy or download the set again", stem)
        else:
            yield Still(item, rgb, len(data))


def label_is_fake(text: str | None) -> bool:
    """``FAKE`` or 1, ``REAL`` or 0. Raises TrainingError for anything else."""
    word = (text or "").strip().lower()
    if word not in _FAKE | _REAL:
        raise TrainingError(f"a label is {text!r}: write FAKE or REAL")
    return word in _FAKE


def _table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"no deepfake-faces set at {path.parent} ({error}): give its folder") from None
    missing = {"videoname", "label"} - set(rows[0] if rows else ())
    if missing:
        raise TrainingError(f"{path} lacks the column {min(missing)}: it needs videoname, label, original and split")
    return rows


def _with_splits(rows: list[dict[str, str]], root: Path) -> list[dict[str, str]]:
    """A table without a split column takes the published one, as far as the parts are known."""
    if "split" in rows[0]:
        return rows
    try:
        parts = {} if "part" in rows[0] else known_parts(root)
        return [row | {"split": split_of(row, Path(row["videoname"]).stem, parts) or ""} for row in rows]
    except (OSError, EOFError, KeyError, ValueError, zlib.error) as error:
        raise TrainingError(f"the parts of {root} cannot be read ({error}): mend or remove them") from None


def _item(row: dict[str, str]) -> Item:
    is_fake = label_is_fake(row["label"])
    manipulation = row.get("manipulation") or row.get("method") or ""
    name = Path(row["videoname"]).stem
    return Item(name, is_fake, _source(row), row.get("video") or name, manipulation if is_fake else "")


def _source(row: dict[str, str]) -> str:
    return Path(row.get("original") or row.get("video") or row["videoname"]).stem


def _files(root: Path, wanted: Mapping[str, Item]) -> Iterator[tuple[str, bytes]]:
    """(stem, content) of the pictures whose stem is a key of ``wanted`` when its turn comes."""
    for path in sorted((root / FOLDER).glob("*")):
        if path.suffix.lower() in PICTURES and path.stem in wanted:
            yield path.stem, path.read_bytes()
    for archive in sorted(root.glob("*.zip")):
        yield from _packed(archive, wanted)


def _packed(archive: Path, wanted: Mapping[str, Item]) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                path = PurePosixPath(name)
                if path.suffix.lower() in PICTURES and path.stem in wanted:
                    yield path.stem, packed.read(name)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        raise TrainingError(f"{archive} is damaged: copy or download it again") from None
