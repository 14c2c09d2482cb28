"""The deepfake-faces data set in Kaggle's layout: ``metadata.csv`` beside ``faces_224/`` or ``faces_224*.zip``.

One 224x224 JPEG face crop per video. A fake names its ``original``; a real is its own source.
"""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.jpeg import rgb_from_picture
from engines.training.datasets import splits
from engines.training.datasets.deepfake_faces import FOLDER, TABLE, picture_bytes, read_table, zips
from engines.training.errors import TrainingError

log = logging.getLogger(__name__)

Rgb = NDArray[np.uint8]
FACE_SIDE = 224
_DECODERS = 2


@dataclass(frozen=True)
class Face:
    """One picture of the table."""

    name: str
    """Video name without its extension."""
    source: str
    """Name of the real video it was made from, itself for a real."""
    is_fake: bool
    split: str


@dataclass(frozen=True, repr=False)
class FaceSet:
    """Faces with their decoded pixels, row by row."""

    faces: tuple[Face, ...]
    pixels: NDArray[np.uint8]
    """(N, 224, 224, 3) RGB, possibly a memory map: copy before writing."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) 1 = fake."""
        return np.array([face.is_fake for face in self.faces], np.int64)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Indices of one split."""
        return np.flatnonzero([face.split == split for face in self.faces])

    def subset(self, rows: NDArray[np.int64]) -> FaceSet:
        """The given rows; pixels are copied."""
        return FaceSet(tuple(self.faces[row] for row in rows), self.pixels[rows])


def read_faces(root: Path, *, force_leaky_split: bool = False) -> list[Face]:
    """Every row of ``metadata.csv`` that is in a split. Raises TrainingError when there are none or a source lies in
    two splits, unless that is forced."""
    rows = read_table(root)
    faces = [Face(row.name, row.source, row.is_fake, row.split) for row in rows if row.split is not None]
    if rows and not faces:
        raise TrainingError(f"no splits in {root / TABLE}: put parts.csv.gz beside it, or add a split column")
    refuse_leaks(faces, force=force_leaky_split)
    return faces


def refuse_leaks(faces: list[Face], *, force: bool = False) -> None:
    """Raise TrainingError when pictures of one source lie in more than one split, or log it where that is forced."""
    leak = splits.refuse_leaks(((face.source, face.split) for face in faces), force=force)
    if leak.items:
        log.warning("%s: what is measured on them is no measure", leak)


def open_faces(root: Path, scratch: Path, *, force_leaky_split: bool = False) -> FaceSet:
    """All faces whose picture is there, decoded once into ``scratch`` and mapped from it ever after."""
    faces = {face.name: face for face in read_faces(root, force_leaky_split=force_leaky_split)}
    names, pixels = scratch / "faces.txt", scratch / "faces.npy"
    key, fingerprint = scratch / "faces.key", _fingerprint(root, set(faces))
    if not names.is_file() or not key.is_file() or key.read_text() != fingerprint:  # of another set
        key.unlink(missing_ok=True)
        _decode_all(root, set(faces), names, pixels)
        key.write_text(fingerprint)
    kept = names.read_text().split()
    return FaceSet(tuple(faces[name] for name in kept), np.load(pixels, mmap_mode="r"))


def rgb_from_jpeg(data: bytes) -> Rgb:
    """Decode to (H, W, 3). Raises TrainingError for a damaged picture."""
    rgb = rgb_from_picture(data)
    if rgb is None:
        raise TrainingError("a picture cannot be decoded: unpack the data set again")
    return rgb


def _fingerprint(root: Path, wanted: set[str]) -> str:
    """Of the table's names and of the folder and zips that hold their pictures."""
    places = [path for path in (root / FOLDER, *zips(root)) if path.exists()]
    facts = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in places]
    return hashlib.sha256("\n".join([str(root.resolve()), *facts, *sorted(wanted)]).encode()).hexdigest()


def _decode_all(root: Path, wanted: set[str], names: Path, pixels: Path) -> None:
    """Write the pixel array, then the names: names without an array never exist."""
    names.parent.mkdir(parents=True, exist_ok=True)
    files = list(picture_bytes(root, wanted))
    if not files:
        raise TrainingError(f"no pictures under {root}: expected {FOLDER}/ or {FOLDER}*.zip")
    names.unlink(missing_ok=True)
    out = np.lib.format.open_memmap(pixels, "w+", np.uint8, (len(files), FACE_SIDE, FACE_SIDE, 3))
    with ThreadPoolExecutor(_DECODERS) as pool:
        for row, rgb in enumerate(pool.map(lambda file: rgb_from_jpeg(file[1]), files)):
            out[row] = rgb
    out.flush()
    names.write_text("\n".join(name for name, _ in files))
