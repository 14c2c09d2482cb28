"""Kaggle's deepfake-faces: ``metadata.csv`` beside ``faces_224/`` or zips that hold it, one picture a DFDC video.

The table's columns are ``videoname, label, original`` and perhaps ``split`` or ``part``, ``video`` and ``manipulation``
(or ``method``). Kaggle's own has neither split nor part: then ``parts.csv`` or ``parts.csv.gz`` (``vid, part``) beside
it tells the parts, and the published split follows from them.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engines.training.datasets.items import LabelledItem, Listing, dfdc_split, label_is_fake, listing_of
from engines.training.errors import TrainingError

TABLE = "metadata.csv"
FOLDER = "faces_224"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    """Video name without its extension."""
    source: str
    """Name of the video it was made from: its ``original``, else its ``video``, else itself."""
    is_fake: bool
    split: str | None
    video: str
    """Of several pictures of one video, its name; otherwise the picture's."""
    manipulation: str
    """How it was forged, where the table tells; empty for a real."""


def read(root: Path) -> Listing:
    """Every picture that the table knows. Raises TrainingError."""
    rows = {row.name: row for row in read_table(root)}
    items = [_item(rows[name], path, member) for name, path, member in _pictures(root) if name in rows]
    missing = len(rows) - len({item.name for item in items})
    return listing_of(items, root, f"{FOLDER}/ or {FOLDER}*.zip", missing)


def read_table(root: Path, *, needs_sources: bool = True) -> list[Row]:
    """Every row of ``metadata.csv``. Raises TrainingError when it is absent or not such a table.

    ``needs_sources``: a table without the column ``original`` is refused, since it would hide that splits leak.
    """
    path = root / TABLE
    lines = _lines(path, {"videoname", "label", *(["original"] if needs_sources else [])})
    parts = {} if not lines or {"split", "part"} & set(lines[0]) else _known_parts(root)
    try:
        return [_row(line, parts) for line in lines]
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from None
    except (ValueError, TypeError) as error:  # TypeError: a line with too few values
        raise TrainingError(f"{path} is damaged ({error}): unpack the data set again") from None


def _lines(path: Path, needed: set[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            lines, missing = list(reader), needed - set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"no deepfake-faces set at {path.parent} ({error}): give its folder") from None
    if missing:
        raise TrainingError(f"{path} lacks the column {min(missing)}: it needs videoname, label, original and split")
    return lines


def _row(line: dict[str, str], parts: dict[str, int]) -> Row:
    name = Path(line["videoname"]).stem
    source = line.get("original") or line.get("video") or line["videoname"]
    manipulation = line.get("manipulation") or line.get("method") or ""
    is_fake = label_is_fake(line["label"])
    return Row(
        name,
        Path(source).stem,
        is_fake,
        _split_of(line, name, parts),
        line.get("video") or name,
        manipulation if is_fake else "",
    )


def _split_of(line: dict[str, str], name: str, parts: dict[str, int]) -> str | None:
    """The table's own, or that of its part, or that of the part which is known elsewhere."""
    if "split" in line:
        return line["split"] or None
    return dfdc_split(int(line["part"]) if line.get("part") else parts.get(name))


def _known_parts(root: Path) -> dict[str, int]:
    """Video name -> DFDC part; empty when nobody has told. Raises TrainingError."""
    path = next((path for path in (root / "parts.csv.gz", root / "parts.csv") if path.is_file()), None)
    if path is None:
        return {}
    try:
        text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
        return {Path(line["vid"]).stem: int(line["part"]) for line in csv.DictReader(text.splitlines())}
    except (OSError, EOFError, KeyError, TypeError, ValueError, csv.Error, zlib.error) as error:
        raise TrainingError(f"{path} cannot be read ({error}): mend or remove it") from None


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
