"""Clips and their labels, found in a folder: by ``labels.csv``, by the file's name, or by the folder it lies in."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from engines.training.datasets.items import label_is_fake
from engines.training.errors import TrainingError
from engines.training.scored import Item

VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v")
_NAME_COLUMNS = ("file", "filename", "videoname", "video", "name", "path")
_FAKE, _REAL = "fake", "real"


@dataclass(frozen=True)
class Clip:
    """One labelled file."""

    path: Path
    item: Item
    """Named by its path below the folder."""


@dataclass(frozen=True)
class ClipSet:
    """What a folder holds."""

    clips: tuple[Clip, ...]
    unlabelled: tuple[str, ...]
    """Videos that nothing gives a label."""


def find_clips(root: Path) -> ClipSet:
    """All videos below ``root``, in the order of their names. Raises TrainingError when none has a label."""
    if not root.is_dir():
        raise TrainingError(f"no folder {root}: give one that holds labelled clips")
    table = _labels(root / "labels.csv")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in VIDEOS and path.is_file())
    found = [(path, _item(path, root, table)) for path in paths]
    clips = tuple(Clip(path, item) for path, item in found if item is not None)
    if not clips:
        raise TrainingError(
            f"no labelled clip below {root}: name them …_real.mp4 and …_fake.mp4, put them into real/ and fake/, "
            "or write labels.csv (file,label)"
        )
    return ClipSet(clips, tuple(str(path.relative_to(root)) for path, item in found if item is None))


def _labels(path: Path) -> dict[str, dict[str, str]]:
    """Rows of labels.csv by the clip they name; empty when there is no such file."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{path} cannot be read ({error}): write it as UTF-8 text") from None
    column = next((name for name in _NAME_COLUMNS if rows and name in rows[0]), None)
    if column is None or "label" not in rows[0]:
        raise TrainingError(f"{path} has no columns file and label: write them into its first line")
    return {row[column]: row for row in rows}


def _item(path: Path, root: Path, table: dict[str, dict[str, str]]) -> Item | None:
    name = path.relative_to(root).as_posix()
    row = next((table[key] for key in (name, path.name, path.stem) if key in table), None)
    if row is not None:
        is_fake = label_is_fake(row["label"])
        source = Path(row.get("source") or row.get("original") or name).stem
        return Item(name, is_fake, source, name, (row.get("manipulation") or "") if is_fake else "")
    relative = path.relative_to(root)
    label = _label_of_name(path.stem) or _label_of_folder(relative)
    if label is None:
        return None
    return Item(name, label == _FAKE, name, name, _manipulation(relative) if label == _FAKE else "")


def _label_of_name(stem: str) -> str | None:
    """The word after the last underscore, dash or dot."""
    last = stem.lower().replace("-", "_").replace(".", "_").rpartition("_")[2]
    return last if last in (_FAKE, _REAL) else None


def _label_of_folder(relative: Path) -> str | None:
    """The nearest folder that is called real or fake."""
    words = [part.lower() for part in reversed(relative.parts[:-1])]
    return next((word for word in words if word in (_FAKE, _REAL)), None)


def _manipulation(relative: Path) -> str:
    """The folder below ``fake/``, if there is one."""
    parts = [part.lower() for part in relative.parts[:-1]]
    after = parts.index(_FAKE) + 1 if _FAKE in parts else len(parts)
    return relative.parts[after] if after < len(parts) else ""
