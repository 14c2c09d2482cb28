"""Where on the face the score comes from: how far it falls when a part of the face is blurred away.

Occlusion (Zeiler and Fergus 2014, section 4.2) asks the model itself, so it holds for every network and is exact for
the question it asks; it is no proof of what was changed, and a part may matter without having been changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from engines.preprocess import Bytes, Floats
from engines.spec import ModelSpec

CELLS = 7
"""Parts along each side: of the order of an eye."""
CROPS = 3
"""Of the window, spread evenly: one would do (see docs/evidence.md), and chance is smaller with more."""
BUDGET_S = 10.0
"""Once so much time is spent no further crop is asked about."""


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
    """The mean of some crops of one window, each judged by itself."""

    drops: Floats
    """(CELLS, CELLS) how far the logit for fake falls when a cell is blurred; negative: it rises."""
    logit: float
    """For fake, raw, with nothing blurred."""
    crop: Bytes
    """(S, S, 3) RGB: the newest of the crops, to draw it on."""
    crops: int
    """How many were asked about."""


def occlusion_map(
    scorer: Scorer,
    window: Sequence[TimedCrop],
    *,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.monotonic,
) -> HeatMap:
    """Of the crops of a window, oldest first, at least one. Raises InferenceError as the runtimes do."""
    until_s, answers = clock() + budget_s, list[Floats]()
    for item in spread(window, CROPS):
        if not answers or clock() < until_s:
            answers.append(_logits(scorer, item.crop))
    whole, *hidden = np.mean(answers, axis=0)
    drops = np.asarray(whole - np.reshape(hidden, (CELLS, CELLS)), np.float32)
    return HeatMap(drops, float(whole), window[-1].crop, len(answers))


def spread(window: Sequence[TimedCrop], count: int) -> list[TimedCrop]:
    """``count`` of them at even distances, the newest first."""
    picked = np.linspace(len(window) - 1, 0, min(count, len(window))).round().astype(int)
    return [window[index] for index in picked]


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


def _logits(scorer: Scorer, crop: Bytes) -> Floats:
    """(1 + CELLS * CELLS,) raw logits for fake: of the crop as it is, and with each of its cells hidden in turn.

    Each is scored as a window that holds nothing else.
    """
    blurred, spec = blurry(crop), scorer.spec
    shown = [crop, *(hide(crop, blurred, row, column) for row in range(CELLS) for column in range(CELLS))]
    features = np.zeros((len(shown), spec.window.slots, spec.window.feature_dim), np.float32)
    mask = np.zeros(features.shape[:2], np.float32)
    features[:, -1], mask[:, -1] = scorer.embed(shown), 1
    sign = 1 if spec.positive_class == "fake" else -1
    return sign * scorer.score(features, mask)
