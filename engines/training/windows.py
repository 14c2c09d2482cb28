"""Windows for the temporal head, drawn from the features of pseudo-clips.

The backbone is nearly all of the cost, so only some slots of a clip are rendered; a slot in between takes the features
of one of its two rendered neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.preprocess import normalise
from engines.runtime.ports import Backend
from engines.spec import ModelSpec
from engines.training.degrade import Rgb, Rng
from engines.training.faces import FaceSet
from engines.training.pairing import Pairing
from engines.training.pseudo_clips import clip_of
from engines.training.recipe import Sampling
from engines.training.self_blend import self_blended

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class ClipFeatures:
    """The D rendered frames of each of N clips."""

    features: Floats
    """(N, D, F)"""
    frame_logits: Floats
    """(N, D)"""
    slots: Indices
    """(N, D) the slot of each rendered frame, rising."""
    labels: Indices
    """(N,) 1 = fake."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ClipPlan:
    """Which pseudo-clips to make: half of them real."""

    split: str
    clips: int
    rendered: int
    """Slots rendered of each clip."""
    self_blended: float
    """Fraction of the fakes that are self-blended from their real."""
    seed: int
    h264: float = 0.0
    """How often a clip is compressed by H.264."""


def embed(backbone: Backend, spec: ModelSpec, crops: list[Rgb]) -> tuple[Floats, Floats]:
    """(N, F) features and (N,) frame logits of N crops, each (S, S, 3) RGB, through the exported graph."""
    answer = backbone.infer({"crops": normalise(crops, spec.pixels)})
    return answer["features"], answer["frame_logit"][:, 0]


def embed_clips(backbone: Backend, spec: ModelSpec, faces: FaceSet, plan: ClipPlan) -> ClipFeatures:
    """Render the planned clips and run the backbone on them. A function of its arguments, ``plan.seed`` included."""
    features, logits, slots, labels = [], [], [], []
    for rng, still, label in _stills(faces, plan):
        chosen = np.sort(rng.choice(spec.window.slots, plan.rendered, replace=False)).astype(np.int64)
        frames = clip_of(rng, still, chosen.astype(np.float64) * spec.window.period_s, spec.pixels.size, plan.h264)
        clip_features, clip_logits = embed(backbone, spec, list(frames))
        features.append(clip_features)
        logits.append(clip_logits)
        slots.append(chosen)
        labels.append(label)
    return ClipFeatures(np.stack(features), np.stack(logits), np.stack(slots), np.array(labels, np.int64))


def fill_slots(rng: Rng, clips: ClipFeatures, slots: int) -> Indices:
    """(N, T) for each slot of a window, which rendered frame stands in it: its own, or a random neighbour's."""
    return np.stack([_neighbours(rng, row, slots) for row in clips.slots])


def draw_masks(rng: Rng, count: int, slots: int, min_samples: int) -> Floats:
    """(N, T): half complete, a quarter with holes, an eighth with only the newest slots filled (a track that has just
    begun), an eighth with only the oldest (one that has just been lost); never fewer than ``min_samples``."""
    masks = np.ones((count, slots), np.float32)
    for mask, kind in zip(masks, rng.integers(8, size=count), strict=True):
        filled = int(rng.integers(min_samples, slots))
        if kind < 2:
            mask[rng.choice(slots, slots - filled, replace=False)] = 0
        elif kind == 2:
            mask[: slots - filled] = 0
        elif kind == 3:
            mask[filled:] = 0
    return masks


def mean_logits(clips: ClipFeatures, filled: Indices, masks: Floats) -> NDArray[np.float64]:
    """(N,) mean frame logit over the sampled slots: what the temporal head has to beat."""
    logits = np.take_along_axis(clips.frame_logits, filled, axis=1)
    return np.asarray((logits * masks).sum(1) / masks.sum(1), np.float64)


def _stills(faces: FaceSet, plan: ClipPlan) -> Iterator[tuple[Rng, Rgb, int]]:
    """A real and its fake in turn, each with its own generator."""
    rows = faces.rows(plan.split)
    sampling = Sampling(pairs=1, self_blended=plan.self_blended)
    pairing = Pairing([faces.faces[row] for row in rows], sampling, plan.seed)
    for step in range(plan.clips // 2):
        rng = np.random.default_rng((plan.seed, 4, step))
        pair = pairing.batch(step)[0]
        real = np.array(faces.pixels[rows[pair.real]])
        fake = self_blended(rng, real) if pair.fake is None else np.array(faces.pixels[rows[pair.fake]])
        yield rng, real, 0
        yield rng, fake, 1


def _neighbours(rng: Rng, rendered: Indices, slots: int) -> Indices:
    after = np.searchsorted(rendered, np.arange(slots), side="left")
    takes_earlier = (rng.random(slots) < 0.5) & ~np.isin(np.arange(slots), rendered)
    return np.clip(after - takes_earlier, 0, len(rendered) - 1)
