"""The table of data sets and the way to read one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.training.datasets import celeb_df, clips, deepfake_faces, dfdc, faceforensics
from engines.training.datasets.items import Listing
from engines.training.errors import TrainingError

READERS: dict[str, Callable[[Path], Listing]] = {
    "celeb-df": celeb_df.read,
    "clips": clips.read,
    "deepfake-faces": deepfake_faces.read,
    "dfdc": dfdc.read,
    "faceforensics": faceforensics.read,
}


def read_dataset(name: str, root: Path) -> Listing:
    """What the named data set holds. Raises TrainingError with one line that says what to do."""
    if name not in READERS:
        raise TrainingError(f"unknown data set {name!r}: choose one of {', '.join(READERS)}")
    if not root.is_dir():
        raise TrainingError(f"no folder at {root}: give the data set's own")
    return READERS[name](root)
