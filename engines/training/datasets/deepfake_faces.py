"""Kaggle's deepfake-faces: ``metadata.csv`` beside ``faces_224/`` or ``faces_224*.zip``, one picture a DFDC video.

The table's columns are ``videoname, label, original`` and perhaps ``split`` or ``part``, ``video`` and ``manipulation``
(or ``method``). Kaggle's own has neither split nor part: then ``parts.csv`` or ``parts.csv.gz`` (``vid, part``) beside
it tells the parts, and the published split follows from them.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from engines.training.datasets.items import (
    PICTURES,
    LabelledItem,
    Listing,
    dfdc_split,
    files_in,
    label_is_fake,
    listing_of,
)
from engines.training.errors import TrainingError

TABLE = "metadata.csv"
FOLDER = "faces_224"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    """Video name without its extension."""
    source: str
    """Name of the video it was made from: a fake's ``original``, else the ``video``, else itself."""
    is_fake: bool
    split: str | None
    video: str
    """Of several pictures of one video, its name; otherwise the picture's."""
    manipulation: str
    """How it was forged, where the table tells; empty for a real."""


@dataclass(frozen=True)
class _Place:
    """Where a picture lies."""

    name: str
    """Of its video."""
    path: Path
    """Of the file, or of the zip that holds it."""
    member: str | None
    """Its name inside the zip."""


def read(root: Path) -> Listing:
    """Every picture that the table knows. Raises TrainingError."""
    rows = {row.name: row for row in read_table(root)}
    items = [_item(rows[place.name], place) for place in _pictures(root) if place.name in rows]
    return listing_of(items, root, f"{FOLDER}/ or {FOLDER}*.zip", len(rows) - len(items))


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
    except ValueError as error:
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
    if (cut := next((line for line in lines if None in line.values()), None)) is not None:
        raise TrainingError(f"{path} is damaged ({cut['videoname']} has too few values): unpack the data set again")
    return lines


def _row(line: dict[str, str], parts: dict[str, int]) -> Row:
    name = Path(line["videoname"]).stem
    is_fake = label_is_fake(line["label"])
    original = line.get("original") if is_fake else None  # tables fill a real's with words of their own, as NAN
    source = original or line.get("video") or line["videoname"]
    manipulation = line.get("manipulation") or line.get("method") or ""
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


def picture_bytes(root: Path, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
    """(video name, content) of each wanted picture that is there, once. Raises TrainingError."""
    found = (place for place in _pictures(root) if place.name in wanted)
    for path, places in groupby(found, lambda place: place.path):
        try:
            yield from _contents(path, places)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
            raise TrainingError(f"{path} is damaged ({error}): fetch it again") from None


def zips(root: Path) -> list[Path]:
    """Those that hold pictures; others that lie there are not the set's."""
    return sorted(root.glob(f"{FOLDER}*.zip"))


def _contents(path: Path, places: Iterable[_Place]) -> Iterator[tuple[str, bytes]]:
    """A zip is opened once for all that lie in it."""
    if path.suffix != ".zip":
        yield from ((place.name, path.read_bytes()) for place in places)
        return
    with zipfile.ZipFile(path) as packed:
        yield from ((place.name, packed.read(str(place.member))) for place in places)


def _pictures(root: Path) -> Iterator[_Place]:
    """Each once: one that is unpacked before one that is not."""
    seen = set[str]()
    for place in _places(root):
        if place.name not in seen:
            seen.add(place.name)
            yield place


def _places(root: Path) -> Iterator[_Place]:
    yield from (_Place(path.stem, path, None) for path in files_in(root / FOLDER, PICTURES))
    for archive in zips(root):
        try:
            with zipfile.ZipFile(archive) as packed:
                names = [(PurePosixPath(name), name) for name in packed.namelist()]
        except (OSError, zipfile.BadZipFile) as error:
            raise TrainingError(f"{archive} is damaged ({error}): fetch it again") from None
        yield from (_Place(path.stem, archive, name) for path, name in names if path.suffix.lower() in PICTURES)


def _item(row: Row, place: _Place) -> LabelledItem:
    kind = "dfdc" if row.is_fake else "real"
    return LabelledItem(
        place.path, "image", int(row.is_fake), row.source, row.split, kind, row.name, None, place.member
    )
