"""Stills to measure on, in the layout of deepfake-faces: ``metadata.csv`` beside ``faces_224/`` or ``faces_224*.zip``.

Unlike the training set (``faces.py``) this one takes what it finds: pictures of any size, a set whose sources
lie in two splits (it says how many), pictures that are missing (it counts them). Pictures are read one after another
and never held all at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.jpeg import rgb_from_picture
from engines.training.datasets.deepfake_faces import TABLE, Row, picture_bytes, read_table
from engines.training.errors import TrainingError
from engines.training.scored import Item

T = TypeVar("T")

ALL = "all"
"""Names every row, whatever its split."""

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
    rows = read_table(root, needs_sources=False)
    splits = sorted({row.split or "" for row in rows})
    chosen = rows if split == ALL and ALL not in splits else [row for row in rows if row.split == split]
    if not chosen:
        known = ", ".join(filter(None, splits)) or "none: there is no split column"
        raise TrainingError(f"no split {split!r} in {root / TABLE} ({known}): name one of these, or {ALL}")
    items = tuple(_item(row) for row in chosen)
    elsewhere = {row.source for row in rows if row.split != split}
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
    for stem, data in picture_bytes(root, wanted):
        item, rgb = wanted[stem], rgb_from_picture(data)
        if rgb is None:
            log.warning("the picture of %s is damaged and left out: copy or download the set again", stem)
        else:
            yield Still(item, rgb, len(data))


def _item(row: Row) -> Item:
    return Item(row.name, row.is_fake, row.source, row.video, row.manipulation)
