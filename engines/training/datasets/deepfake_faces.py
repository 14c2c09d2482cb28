"""Kaggle's deepfake-faces: ``metadata.csv`` beside ``faces_224/`` or zips that hold it, one picture a DFDC video.

The table's columns are ``videoname, label, original`` and perhaps ``split`` or ``part``. Kaggle's own has neither: then
``parts.csv`` or ``parts.csv.gz`` (``vid, part``) beside it tells the parts, and the published split follows from them.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engines.training.datasets.items import LabelledItem, Listing, dfdc_split, listing_of
from engines.training.errors import TrainingError

FOLDER = "faces_224"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    """Video name without its extension."""
    source: str
    """Name of the real video it was made from, itself for a real."""
    is_fake: bool
    split: str | None


def read(root: Path) -> Listing:
    """Every picture that the table knows. Raises TrainingError."""
    rows = {row.name: row for row in read_table(root)}
    items = [_item(rows[name], path, member) for name, path, member in _pictures(root) if name in rows]
    missing = len(rows) - len({item.name for item in items})
    return listing_of(items, root, f"{FOLDER}/ or {FOLDER}*.zip", missing)


def read_table(root: Path) -> list[Row]:
    """Every row of ``metadata.csv``. Raises TrainingError when it is absent or not such a table."""
    path = root / "metadata.csv"
    try:
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        parts = {} if not lines or {"split", "part"} & set(lines[0]) else known_parts(root)
        return [_row(line, parts) for line in lines]
    except (OSError, EOFError, KeyError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise TrainingError(f"no deepfake-faces set at {root} ({error}): give its folder") from None
    except ValueError as error:
        raise TrainingError(f"{path} is damaged ({error}): unpack the data set again") from None


def _row(line: dict[str, str], parts: dict[str, int]) -> Row:
    name, original = Path(line["videoname"]).stem, Path(line["original"] or "").stem
    if line["label"] not in ("REAL", "FAKE"):
        raise ValueError(f"{name} is labelled {line['label']!r}, neither REAL nor FAKE")
    is_fake = line["label"] == "FAKE"
    return Row(name, original if is_fake and original else name, is_fake, split_of(line, name, parts))


def split_of(line: dict[str, str], name: str, parts: dict[str, int]) -> str | None:
    """The table's own, or that of its part, or that of the part which is known elsewhere."""
    if "split" in line:
        return line["split"] or None
    return dfdc_split(int(line["part"]) if line.get("part") else parts.get(name))


def known_parts(root: Path) -> dict[str, int]:
    """Video name -> DFDC part; empty when nobody has told."""
    for path in (root / "parts.csv.gz", root / "parts.csv"):
        if path.is_file():
            text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
            return {Path(line["vid"]).stem: int(line["part"]) for line in csv.DictReader(text.splitlines())}
    return {}


def _pictures(root: Path) -> Iterator[tuple[str, Path, str | None]]:
    """(video name, file or zip, name in the zip)."""
    for path in sorted((root / FOLDER).glob("*.jpg")):
        yield path.stem, path, None
    for archive in sorted(root.glob(f"{FOLDER}*.zip")):
        try:
            with zipfile.ZipFile(archive) as packed:
                names = [name for name in packed.namelist() if name.endswith(".jpg")]
        except (OSError, zipfile.BadZipFile) as error:
            raise TrainingError(f"{archive} cannot be read ({error}): fetch it again") from None
        yield from ((Path(name).stem, archive, name) for name in names)


def _item(row: Row, path: Path, member: str | None) -> LabelledItem:
    manipulation = "dfdc" if row.is_fake else "real"
    return LabelledItem(path, "image", int(row.is_fake), row.source, row.split, manipulation, row.name, None, member)
