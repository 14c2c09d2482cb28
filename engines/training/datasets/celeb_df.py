"""Celeb-DF v2 (Li et al. 2020): three folders of videos and ``List_of_testing_videos.txt``, **where 1 is real**.

A fake ``id1_id2_0003`` is the video ``id1_0003`` with the face of ``id2``: its authors call the first "the original
id" and the second "swapped id". So ``id1_0003`` is its source. What the list does not name is for training; it names
no validation set, and where one source lies on both sides, that is its authors' split and leaks.
"""

from __future__ import annotations

import re
from pathlib import Path

from engines.training.datasets.items import LabelledItem, Listing, files_in, listing_of
from engines.training.errors import TrainingError

FOLDERS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}
"""Folder -> label, 1 = fake."""
LIST = "List_of_testing_videos.txt"
_FAKE = re.compile(r"(id\d+)_id\d+_(\d+)")


def read(root: Path) -> Listing:
    """All three folders. Raises TrainingError, also when the list's labels are not those of its folders."""
    testing = _testing(root / LIST)
    paths = [(folder, path) for folder in FOLDERS for path in files_in(root / folder)]
    items = [_item(folder, path, f"{folder}/{path.name}" in testing) for folder, path in paths]
    there = {f"{folder}/{path.name}" for folder, path in paths}
    return listing_of(items, root, f"the folders {', '.join(FOLDERS)}", len(testing - there))


def _testing(path: Path) -> set[str]:
    """``folder/name`` of every video of the list."""
    try:
        lines = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"no Celeb-DF v2 at {path.parent} ({error}): give the folder that holds {LIST}") from None
    for words in lines:
        if len(words) != 2 or words[0] != str(1 - FOLDERS.get(words[1].split("/")[0], 2)):
            raise TrainingError(f"{path}: {' '.join(words)!r} is not '1 Celeb-real/NAME' or '0 Celeb-synthesis/NAME'")
    return {words[1].strip() for words in lines}


def _item(folder: str, path: Path, tests: bool) -> LabelledItem:
    label = FOLDERS[folder]
    manipulation = folder if label else "real"
    source = _source(path.stem) if label else _real_source(folder, path.stem)
    return LabelledItem(path, "video", label, source, "test" if tests else "train", manipulation, path.stem)


def _source(stem: str) -> str:
    target = _FAKE.fullmatch(stem)
    if target is None:
        raise TrainingError(f"{stem} is no name of a Celeb-DF fake, such as id1_id2_0003: move it elsewhere")
    return f"{target.group(1)}_{target.group(2)}"


def _real_source(folder: str, stem: str) -> str:
    """YouTube-real's videos are bare numbers."""
    return stem if folder == "Celeb-real" else f"youtube_{stem}"
