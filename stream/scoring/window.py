"""The rolling window of one face: T slots, uniform in media time, each holding one feature or nothing.

A slot is a whole number of sample periods after the window's anchor, so a window spans the same seconds at any frame
rate. A frame that never came leaves its slot empty and masked; nothing is stretched or repeated to fill it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Floats
from engines.spec import WindowSpec

Flags = NDArray[np.bool_]

EARLY_FRACTION = 4
"""A slot opens a quarter of a period early: a source whose frames come at the very sample rate, with jitter, fills
every slot, while a fast source still settles into exact periods."""


class FeatureWindow:
    """The last ``slots`` features of one track, by media time. Memory is allocated once. Used by one thread."""

    def __init__(self, spec: WindowSpec) -> None:
        self._slots = spec.slots
        self._period_ns = round(spec.period_s * 1e9)
        self._ring: Floats = np.zeros((spec.slots, spec.feature_dim), np.float32)
        self._filled: Flags = np.zeros(spec.slots, np.bool_)
        self._anchor_ns = 0
        self._newest: int | None = None

    def __repr__(self) -> str:
        return f"FeatureWindow({self.count}/{self._slots} slots)"

    @property
    def count(self) -> int:
        """Filled slots."""
        return int(self._filled.sum())

    def clear(self) -> None:
        """Forget every sample; the next one begins a new window."""
        self._newest = None
        self._filled[:] = False
        self._ring[:] = 0.0

    def is_due(self, pts_ns: int) -> bool:
        """Whether a sample taken now has a slot of its own.

        A step back of less than a period is jitter and has none; a larger one begins a new window.
        """
        steps = self._steps(pts_ns)
        return steps is None or steps > 0 or steps < -1

    def add(self, pts_ns: int, feature: Floats) -> None:
        """Keep a copy of ``feature`` (F,). Raises ValueError when its slot is taken: ask ``is_due`` first."""
        if not self.is_due(pts_ns):
            raise ValueError(f"the slot of {pts_ns} ns is taken: one sample a slot")
        if self._begins_anew(pts_ns):
            self.clear()
            self._anchor_ns = pts_ns - self._period_ns // EARLY_FRACTION
        slot = self._slot(pts_ns)
        self._open(slot)
        self._ring[slot % self._slots] = feature
        self._filled[slot % self._slots] = True

    def features(self) -> Floats:
        """(T, F) float32, oldest first, zeros where nothing was sampled; a copy."""
        return np.roll(self._ring, -self._oldest(), axis=0)

    def mask(self) -> Floats:
        """(T,) float32, oldest first: 1 where there is a sample."""
        return np.roll(self._filled, -self._oldest()).astype(np.float32)

    def copy_into(self, features: Floats, mask: Floats) -> None:
        """Write ``features()`` and ``mask()`` into arrays (T, F) and (T,) that the caller owns."""
        oldest = self._oldest()
        head = self._slots - oldest
        features[:head], features[head:] = self._ring[oldest:], self._ring[:oldest]
        mask[:head], mask[head:] = self._filled[oldest:], self._filled[:oldest]

    def slots_at(self, pts_ns: int) -> tuple[bool, ...]:
        """The mask of the window that would end at ``pts_ns``, oldest first: empties as samples stay away."""
        passed = min(max(self._steps(pts_ns) or 0, 0), self._slots)
        mask = [bool(filled) for filled in self.mask()]
        return tuple(mask[passed:] + [False] * passed)

    def slot_at(self, pts_ns: int) -> tuple[int, int | None]:
        """The number of the slot at ``pts_ns``, and how many slots it lies after the newest sample's.

        Numbers count from the window's anchor; the distance is None in an empty window.
        """
        return self._slot(pts_ns), self._steps(pts_ns)

    def _slot(self, pts_ns: int) -> int:
        return (pts_ns - self._anchor_ns) // self._period_ns

    def _steps(self, pts_ns: int) -> int | None:
        """Slots between the newest sample and ``pts_ns``; None in an empty window."""
        return None if self._newest is None else self._slot(pts_ns) - self._newest

    def _begins_anew(self, pts_ns: int) -> bool:
        steps = self._steps(pts_ns)
        return steps is None or steps < 0 or steps >= self._slots

    def _open(self, slot: int) -> None:
        """Move on to ``slot``; the slots passed over become empty."""
        first = slot if self._newest is None else self._newest + 1
        passed = np.arange(first, slot + 1) % self._slots
        self._filled[passed] = False
        self._ring[passed] = 0.0
        self._newest = slot

    def _oldest(self) -> int:
        """Where the oldest slot lies in the ring."""
        return 0 if self._newest is None else (self._newest + 1) % self._slots
