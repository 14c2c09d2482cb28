"""FaceForensics++ (Rössler et al. 2019): its folders in every compression that is there, and its official splits.

``manipulated_sequences/<method>/<compression>/videos/033_097.mp4`` is the video 033 with the face or the expression of
097; its source is 033. The split files hold pairs, so that both lie in one split. DeepFakeDetection's videos of actors
(``01_03__talking.mp4`` is actor 01 with the face of 03) are in no official split.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from engines.training.datasets.items import LabelledItem, Listing, files_in, listing_of
from engines.training.errors import TrainingError

METHODS = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures", "DeepFakeDetection")
ORIGINALS = ("youtube", "actors")
COMPRESSIONS = {"raw": "raw", "c0": "raw", "c23": "c23", "c40": "c40"}
"""Folder -> its name in an item."""
_ACTORS_FAKE = re.compile(r"(\d+)_\d+__(.+?)(__[A-Z0-9]+)?")


def read(root: Path) -> Listing:
    """Every video. Raises TrainingError."""
    splits = _splits(root)
    items = [
        item
        for folder, compression in COMPRESSIONS.items()
        for item in (*_originals(root, folder, compression, splits), *_forged(root, folder, compression, splits))
    ]
    return listing_of(
        items, root, "original_sequences/youtube/c23/videos, manipulated_sequences/Deepfakes/c23/videos, …"
    )


def _originals(root: Path, folder: str, compression: str, splits: dict[str, str]) -> list[LabelledItem]:
    return [
        LabelledItem(path, "video", 0, path.stem, splits.get(path.stem), "real", path.stem, compression)
        for origin in ORIGINALS
        for path in files_in(root / "original_sequences" / origin / folder / "videos")
    ]


def _forged(root: Path, folder: str, compression: str, splits: dict[str, str]) -> list[LabelledItem]:
    return [
        _fake(path, method, compression, splits)
        for method in METHODS
        for path in files_in(root / "manipulated_sequences" / method / folder / "videos")
    ]


def _fake(path: Path, method: str, compression: str, splits: dict[str, str]) -> LabelledItem:
    source = _source(path.stem)
    return LabelledItem(path, "video", 1, source, splits.get(source), method, f"{method}/{path.stem}", compression)


def _source(stem: str) -> str:
    actors = _ACTORS_FAKE.fullmatch(stem)
    if actors:
        return f"{actors.group(1)}__{actors.group(2)}"
    target, separator, _ = stem.partition("_")
    if not separator:
        raise TrainingError(f"{stem} is no name of a FaceForensics++ fake, such as 033_097: move it elsewhere")
    return target


def _splits(root: Path) -> dict[str, str]:
    """Video -> split, from ``splits/`` or the repository's ``dataset/splits/``; empty where neither is there."""
    folder = next((found for found in (root / "splits", root / "dataset" / "splits") if found.is_dir()), None)
    if folder is None:
        return {}
    return {video: split for split in ("train", "val", "test") for video in _members(folder / f"{split}.json")}


def _members(path: Path) -> list[str]:
    try:
        pairs = json.loads(path.read_bytes())
        return [str(video) for first, second in pairs for video in (first, second)]
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{path} is not a list of pairs ({error}): take it from FaceForensics' repository"
        ) from None
