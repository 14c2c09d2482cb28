"""DFDC: folders of videos, each with a ``metadata.json`` of labels and originals.

Videos of ``dfdc_train_part_N`` take the published split of their part; in other folders the table's own is kept.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from engines.training.datasets.items import LabelledItem, Listing, dfdc_split, listing_of
from engines.training.errors import TrainingError

TABLE = "metadata.json"


def read(root: Path) -> Listing:
    """The videos of this folder or of the folders in it. Raises TrainingError."""
    tables = [root / TABLE] if (root / TABLE).is_file() else sorted(root.glob(f"*/{TABLE}"))
    items, missing = list[LabelledItem](), 0
    for table in tables:
        found = [_item(table.parent, name, entry) for name, entry in _entries(table).items()]
        there = [item for item in found if item.path.is_file()]
        items += there
        missing += len(found) - len(there)
    return listing_of(items, root, f"DFDC's folders of videos with their {TABLE}", missing)


def _entries(table: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(table.read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{table} cannot be read ({error}): fetch it again") from None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise TrainingError(f"{table} is not DFDC's: it must map each video to its label")
    return entries


def _item(folder: Path, name: str, entry: dict[str, Any]) -> LabelledItem:
    label = entry.get("label")
    if label not in ("REAL", "FAKE"):
        raise TrainingError(f"{folder / TABLE}: {name} is labelled {label!r}, neither REAL nor FAKE: fetch it again")
    is_fake, own = label == "FAKE", Path(name).stem
    source = Path(str(entry.get("original") or name)).stem if is_fake else own
    manipulation = "dfdc" if is_fake else "real"
    return LabelledItem(folder / name, "video", int(is_fake), source, _split(folder, entry), manipulation, own)


def _split(folder: Path, entry: dict[str, Any]) -> str | None:
    part = re.search(r"part_(\d+)$", folder.name)
    if part:
        return dfdc_split(int(part.group(1)))
    return str(entry["split"]) if entry.get("split") else None
