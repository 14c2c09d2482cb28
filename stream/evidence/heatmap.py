"""Where on the face the score comes from: how far it falls when a part of the face is blurred away.

Occlusion (Zeiler and Fergus 2014, section 4.2) asks the model itself, so it holds for every network and is exact for
the question it asks; it is no proof of what was changed, and a part may matter without having been changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from engines.preprocess import Bytes, Floats
from engines.spec import ModelSpec

CELLS = 7
"""Parts along each side: of the order of an eye."""
CROPS = 5
"""Of the window, spread evenly: as few as a first score is made of."""
BUDGET_S = 20.0
"""A slower model is asked about fewer crops, at least one."""


class Scorer(Protocol):
    """What is asked: stream.scoring.scorer.ModelScorer on runtimes of its own."""

    spec: ModelSpec

    def embed(self, crops: Sequence[Bytes]) -> Floats: ...

    def score(self, features: Floats, mask: Floats) -> Floats: ...


@dataclass(frozen=True)
class TimedCrop:
    """A crop that the model was given, and when it was seen."""

    pts_ns: int
    crop: Bytes
    """(S, S, 3) RGB."""


@dataclass(frozen=True)
class HeatMap:
    """Answers of one window."""

    drops: Floats
    """(CELLS, CELLS) how far the logit for fake falls when a cell is blurred; negative: it rises."""
    logit: float
    """For fake, raw, of the same crops with nothing blurred."""
    crop: Bytes
    """(S, S, 3) RGB: the newest of the crops, to draw it on."""
    crops: int
    """How many of the window were asked about."""


def occlusion_map(
    scorer: Scorer,
    window: Sequence[TimedCrop],
    *,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.monotonic,
) -> HeatMap:
    """Of the crops of a window, oldest first, at least one. Raises InferenceError as the runtimes do."""
    began = clock()
    scorer.embed([window[-1].crop])  # the first call also warms the runtime up
    second = clock()
    scorer.embed([window[-1].crop] * 2)
    chosen = spread(window, affordable(min(clock() - second, 2 * (second - began)) / 2, budget_s))
    slots = slots_of(chosen, scorer.spec)
    whole = _logits(scorer, [[item.crop for item in chosen]], slots)[0]
    blurred = [blurry(item.crop) for item in chosen]
    hidden = (
        [hide(item.crop, soft, row, column) for item, soft in zip(chosen, blurred, strict=True)]
        for row in range(CELLS)
        for column in range(CELLS)
    )
    drops = whole - _logits(scorer, hidden, slots)
    return HeatMap(drops.reshape(CELLS, CELLS).astype(np.float32), float(whole), chosen[-1].crop, len(chosen))


def affordable(seconds_a_crop: float, budget_s: float) -> int:
    """How many crops can be asked about in time."""
    return max(1, min(CROPS, int(budget_s / (max(seconds_a_crop, 1e-6) * (CELLS**2 + 1)))))


def spread(window: Sequence[TimedCrop], count: int) -> list[TimedCrop]:
    """``count`` of them at even distances; the newest is always one."""
    picked = np.linspace(len(window) - 1, 0, min(count, len(window))).round().astype(int)
    return [window[index] for index in sorted(picked)]


def slots_of(crops: Sequence[TimedCrop], spec: ModelSpec) -> list[int]:
    """Slot of each crop in a window that ends with the last; every one has its own."""
    last, slots = spec.window.slots - 1, list[int]()
    for item in reversed(crops):
        behind = round((crops[-1].pts_ns - item.pts_ns) / (spec.window.period_s * 1e9))
        slots.insert(0, max(0, min(last - behind, (slots[0] - 1) if slots else last)))
    return slots


def blurry(crop: Bytes) -> Bytes:
    """The crop without anything as small as a cell."""
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), crop.shape[0] / CELLS / 2, borderType=cv2.BORDER_REPLICATE))


def hide(crop: Bytes, blurred: Bytes, row: int, column: int) -> Bytes:
    """The crop with one cell, and softly what lies next to it, as in ``blurred``."""
    cell = crop.shape[0] / CELLS
    at = np.arange(crop.shape[0]) + 0.5
    across, down = (np.clip(1.5 - np.abs(at - (index + 0.5) * cell) / cell, 0, 1) for index in (column, row))
    share = np.outer(down, across).astype(np.float32)[..., None]
    return np.asarray(np.rint(crop + share * (blurred.astype(np.float32) - crop)), np.uint8)


def _logits(scorer: Scorer, windows: Iterable[Sequence[Bytes]], slots: Sequence[int]) -> Floats:
    """(N,) raw logits for fake of N windows, whose crops lie in ``slots``."""
    spec, embedded = scorer.spec, [scorer.embed(window) for window in windows]
    features = np.zeros((len(embedded), spec.window.slots, spec.window.feature_dim), np.float32)
    mask = np.zeros(features.shape[:2], np.float32)
    features[:, list(slots)], mask[:, list(slots)] = np.stack(embedded), 1
    sign = 1 if spec.positive_class == "fake" else -1
    return sign * scorer.score(features, mask)
