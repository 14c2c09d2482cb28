"""Pictures of which one half was changed, made of real and fake frames of the same videos."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from engines.preprocess import Bytes
from stream.evidence.heatmap import Scorer

SEAM_PX = 24
CALM, SURE = 0.0, 1.5
"""Raw logits: pairs are taken of which the model calls the original real and the fake fake."""


def half_swapped(root: Path, scorer: Scorer, count: int) -> Iterator[tuple[Bytes, bool]]:
    """(224, 224, 3) RGB and whether its left half is the fake's, in turn."""
    number = 0
    for real, fake in _pairs(root):
        if number < count and _is_told_apart(scorer, real, fake):
            is_left = number % 2 == 0
            ramp = np.clip((np.arange(224) - 112) / SEAM_PX + 0.5, 0, 1)[None, :, None]
            share = 1 - ramp if is_left else ramp
            yield np.rint(real * (1 - share) + fake * share).astype(np.uint8), is_left
            number += 1
        if number == count:
            return


def _is_told_apart(scorer: Scorer, real: Bytes, fake: Bytes) -> bool:
    window = scorer.spec.window
    features = np.zeros((2, window.slots, window.feature_dim), np.float32)
    mask = np.zeros(features.shape[:2], np.float32)
    features[:, -1], mask[:, -1] = scorer.embed([real, fake]), 1
    real_logit, fake_logit = scorer.score(features, mask)
    return bool(real_logit < CALM and fake_logit > SURE)


def _pairs(root: Path) -> Iterator[tuple[Bytes, Bytes]]:
    """A real and its fake of the validation split, from the same frame."""
    archives = [zipfile.ZipFile(path) for path in sorted(root.glob("*.zip"))]
    where = {name: archive for archive in archives for name in archive.namelist()}
    with (root / "metadata.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val" and row["label"] == "FAKE"]
    np.random.default_rng(0).shuffle(rows)  # type: ignore[arg-type]  # a list of rows is a sequence
    for row in rows:
        names = [f"faces_224/{row[key].removesuffix('.mp4')}.jpg" for key in ("original", "videoname")]
        if all(name in where for name in names):
            real, fake = (_picture(where[name].read(name)) for name in names)
            if np.corrcoef(real.ravel()[::7], fake.ravel()[::7])[0, 1] > 0.9:
                yield real, fake


def _picture(data: bytes) -> Bytes:
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(bgr[..., ::-1], dtype=np.uint8)
