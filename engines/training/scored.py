"""What a model said of labelled items: the value between scoring and measuring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """One labelled still or clip, before anybody looked at its pixels."""

    name: str
    is_fake: bool
    source: str
    """The real recording it comes from: items of one source are drawn, or left out, together."""
    video: str
    """The video it is a frame of; of a clip, its own name."""
    manipulation: str = ""
    """How a fake was made, where the set tells."""


@dataclass(frozen=True, repr=False)
class Scored:
    """N items with their scores, row by row; whatever the model's polarity, high is fake."""

    items: tuple[Item, ...]
    logits: Floats
    """(N,) before calibration; of clips, which have none of their own, the log odds of the probability."""
    probabilities: Floats
    """(N,) calibrated as the model ships."""

    @property
    def labels(self) -> Labels:
        """(N,) 1 = fake."""
        return np.array([item.is_fake for item in self.items], np.int64)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(item.source for item in self.items)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Scored:
        """The rows of an index or of a mask."""
        kept = np.arange(len(self.items))[rows]
        return Scored(tuple(self.items[row] for row in kept), self.logits[kept], self.probabilities[kept])
