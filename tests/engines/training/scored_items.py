"""Scored items made up for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.postprocess import sigmoid
from engines.training.scored import Item, Scored


def scored_of(labels: Sequence[int], logits: Sequence[float], *, per_source: int = 1) -> Scored:
    """Items in order, ``per_source`` of them from each source; probabilities are the logits' own."""
    items = tuple(Item(f"i{row}", bool(label), f"s{row // per_source}", f"i{row}") for row, label in enumerate(labels))
    values = np.array(logits, np.float64)
    return Scored(items, values, sigmoid(values))


def overlapping(count: int, seed: int = 0, *, shift: float = 1.5, per_source: int = 1) -> Scored:
    """Reals and fakes in turn, whose logits overlap; fakes score ``shift`` higher."""
    labels = np.arange(count) % 2
    logits = np.random.default_rng(seed).normal(0, 1.2, count) + shift * (labels - 0.5)
    return scored_of(labels.tolist(), logits.tolist(), per_source=per_source)
