"""Windows for the temporal head from real face tracks, beside those of pseudo-clips (``windows.py``)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engines.runtime.ports import Backend
from engines.spec import ModelSpec
from engines.training.degrade import Rgb, as_rgb
from engines.training.errors import TrainingError
from engines.training.tracks import FaceTrack
from engines.training.windows import ClipFeatures, embed


def embed_tracks(
    backbone: Backend, spec: ModelSpec, tracks: Sequence[FaceTrack], *, rendered: int, seed: int
) -> ClipFeatures:
    """Features of ``rendered`` samples, drawn anew for each, of every window of every track.

    A window with fewer samples is left out. Raises TrainingError when none is left.
    """
    features, logits, slots, labels = [], [], [], []
    for number, track in enumerate(tracks):
        rng = np.random.default_rng((seed, 7, number))
        for rows in track.windows(spec.window):
            filled = np.flatnonzero(rows >= 0)
            if len(filled) < rendered:
                continue
            chosen = np.sort(rng.choice(filled, rendered, replace=False))
            crops = [_fitted(crop, spec.pixels.size) for crop in track.crops(rows[chosen].tolist())]
            clip_features, clip_logits = embed(backbone, spec, crops)
            features.append(clip_features)
            logits.append(clip_logits)
            slots.append(chosen.astype(np.int64))
            labels.append(track.label)
    if not labels:
        raise TrainingError(f"no track has a window of {rendered} samples: extract longer videos")
    return ClipFeatures(np.stack(features), np.stack(logits), np.stack(slots), np.array(labels, np.int64))


def joined(parts: Sequence[ClipFeatures]) -> ClipFeatures:
    """Pseudo-clips and tracks as one; all have as many rendered frames."""
    names = ("features", "frame_logits", "slots", "labels")
    return ClipFeatures(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _fitted(crop: Rgb, size: int) -> Rgb:
    shrinks = crop.shape[0] > size
    return as_rgb(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
