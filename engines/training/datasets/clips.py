"""Plain folders ``real/`` and ``fake/`` of clips or pictures, by themselves or inside ``train/``, ``val/``, ``test/``.

A folder in ``fake/`` names a manipulation. ``sources.csv`` (``name,source``) beside the two says which items are of one
source; without it the source is what stands before the first ``_`` of the file's name.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

from engines.training.datasets.items import PICTURES, VIDEOS, LabelledItem, Listing, listing_of
from engines.training.errors import TrainingError

LABELS = {"real": 0, "fake": 1}
SPLITS = ("train", "val", "test")


def read(root: Path) -> Listing:
    """Every video and picture. Raises TrainingError."""
    sources = _sources(root / "sources.csv")
    places = [(root, None), *((root / split, split) for split in SPLITS)]
    items = [
        _item(path, folder / name, split, sources)
        for folder, split in places
        for name in LABELS
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in VIDEOS | PICTURES and path.is_file()
    ]
    return listing_of(items, root, "real/ and fake/ with clips or pictures")


def _item(path: Path, folder: Path, split: str | None, sources: dict[str, str]) -> LabelledItem:
    label = LABELS[folder.name]
    kinds = path.relative_to(folder).parts[:-1]
    manipulation = "/".join(kinds) if label and kinds else folder.name
    source = sources.get(path.stem) or path.stem.partition("_")[0]
    name = path.relative_to(folder.parent).with_suffix("").as_posix()
    kind: Literal["video", "image"] = "video" if path.suffix.lower() in VIDEOS else "image"
    return LabelledItem(path, kind, label, source, split, manipulation, name)


def _sources(path: Path) -> dict[str, str]:
    """File name without its extension -> source; empty without a table."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="") as file:
            return {Path(line["name"]).stem: line["source"] for line in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{path} is no table of name,source ({error}): mend it") from None
