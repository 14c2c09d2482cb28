"""A tiny data set in Kaggle's layout: painted pictures, no person."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

FIELDS = ("videoname", "label", "original", "split")
Row = tuple[str, str, str, str]


def painted_face(seed: int, *, is_fake: bool = False) -> bytes:
    """A JPEG that looks remotely like a face; a fake has a patch of another colour."""
    rng = np.random.default_rng(seed)
    picture = np.full((224, 224, 3), rng.integers(60, 200, 3), np.uint8)
    cv2.ellipse(picture, (112, 112), (70, 95), 0, 0, 360, rng.integers(90, 220, 3).tolist(), -1)
    for x in (85, 139):
        cv2.circle(picture, (x, 90), 9, (20, 20, 20), -1)
    if is_fake:
        cv2.rectangle(picture, (80, 120), (144, 180), rng.integers(0, 255, 3).tolist(), -1)
    return bytes(cv2.imencode(".jpg", picture)[1])


def rows_of(sources: int, split: str, prefix: str) -> list[Row]:
    """One real and two fakes a source."""
    rows: list[Row] = []
    for source in range(sources):
        real = f"{prefix}{source}r.mp4"
        rows.append((real, "REAL", "", split))
        rows += [(f"{prefix}{source}f{fake}.mp4", "FAKE", real, split) for fake in range(2)]
    return rows


def write_set(root: Path, rows: Sequence[Row], *, zipped: bool) -> Path:
    """``metadata.csv`` and the pictures, in a folder or in two zips."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([FIELDS, *rows])
    jpegs = {
        f"faces_224/{Path(row[0]).stem}.jpg": painted_face(number, is_fake=row[1] == "FAKE")
        for number, row in enumerate(rows)
    }
    if zipped:
        _zip(root, jpegs)
    else:
        (root / "faces_224").mkdir()
        for name, data in jpegs.items():
            (root / name).write_bytes(data)
    return root


def _zip(root: Path, jpegs: dict[str, bytes]) -> None:
    names = sorted(jpegs)
    for part in range(2):
        with zipfile.ZipFile(root / f"faces_224-{part:02}.zip", "w") as packed:
            for name in names[part::2]:
                packed.writestr(name, jpegs[name])
