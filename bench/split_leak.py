"""How much of what a split measures on was as good as trained on: sources that lie on both sides.

.venv/bin/python -m bench.split_leak FACES      the folder of a deepfake-faces set: its metadata.csv is enough
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from engines.errors import EngineError
from engines.training.datasets.deepfake_faces import Row, read_table
from engines.training.datasets.items import LabelledItem
from engines.training.datasets.splits import Leak, leak_of, places, split_at_random, split_by_source

SHARES = {"train": 0.8, "test": 0.2}
SEED = 0


def main(argv: list[str]) -> int:
    """Print three lines; exit 2 with one line when there is no such set."""
    if len(argv) != 1:
        print("usage: python -m bench.split_leak FACES", file=sys.stderr)
        return 2
    root = Path(argv[0])
    try:
        items = [_item(root, row) for row in read_table(root)]
        by_source = leak_of(places(split_by_source(items, SHARES, SEED)))
        at_random = split_at_random(items, SHARES, SEED)[1]
    except EngineError as error:
        print(f"split_leak: {error}", file=sys.stderr)
        return 2
    print(_line("the table's own splits", leak_of(places(items))))
    print(_line("80/20 at random, picture by picture", at_random))
    print(_line("80/20 by source", by_source))
    return 0


def _item(root: Path, row: Row) -> LabelledItem:
    item = LabelledItem(root, "image", int(row.is_fake), row.source, None, "", row.name)
    return replace(item, split=row.split)


def _line(name: str, leak: Leak) -> str:
    return f"{name:<36} {leak.share:6.1%} of {leak.held_out:,} held-out pictures have their source in train"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
