"""Which pictures make a batch: each real beside a fake of the same source, so that only the forgery tells them apart.

A batch is a function of (seed, step): a resumed run sees exactly what an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engines.training.errors import TrainingError
from engines.training.faces import Face
from engines.training.recipe import Sampling
from engines.training.swap import Donors


@dataclass(frozen=True)
class Pair:
    """Rows of a real and of its fake; ``fake`` is None when the fake is to be made from the real."""

    real: int
    fake: int | None
    donor: int | None = None
    """Row of the other real whose face the made fake wears; None when it is self-blended."""


class Pairing:
    """The pairs of one split's faces. Raises TrainingError when swaps are asked for without ``donors``."""

    def __init__(self, faces: Sequence[Face], sampling: Sampling, seed: int, donors: Donors | None = None) -> None:
        if sampling.swapped and donors is None:
            raise TrainingError("swapped faces need landmarks: set swapped to 0")
        self._donors = donors
        self._sampling, self._seed = sampling, seed
        self._reals = np.array([row for row, face in enumerate(faces) if not face.is_fake], np.int64)
        self._fakes = np.array([row for row, face in enumerate(faces) if face.is_fake], np.int64)
        self._fakes_of = _fakes_by_source(faces)
        self._sources = [face.source for face in faces]

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which each real comes once; the remainder of a batch is left out."""
        return max(1, len(self._reals) // self._sampling.pairs)

    def batch(self, step: int) -> list[Pair]:
        """The pairs of one step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self._seed, 1, epoch)).permutation(self._reals)
        start = position * self._sampling.pairs
        rng = np.random.default_rng((self._seed, 2, step))
        return [self._pair(rng, int(real)) for real in order[start : start + self._sampling.pairs]]

    def pairs(self, start: int, stop: int) -> Iterator[list[Pair]]:
        """The batches of steps ``start`` to ``stop``."""
        return (self.batch(step) for step in range(start, stop))

    def _pair(self, rng: np.random.Generator, real: int) -> Pair:
        draw = rng.random()
        if draw < self._sampling.self_blended:
            return Pair(real, None)
        if self._donors and draw < self._sampling.self_blended + self._sampling.swapped:
            return Pair(real, None, self._donors.of(rng, real))
        own = self._fakes_of.get(self._sources[real], [])
        if own and rng.random() < self._sampling.own_fake:
            return Pair(real, int(rng.choice(own)))
        return Pair(real, int(rng.choice(self._fakes)) if len(self._fakes) else None)


class Shuffle:
    """All pictures of one split in random order, epoch by epoch; the remainder of a batch is left out."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self._count, self._batch, self._seed = count, batch, seed

    def batch(self, step: int) -> list[int]:
        """The rows of one step."""
        epoch, position = divmod(step, max(1, self._count // self._batch))
        order = np.random.default_rng((self._seed, 1, epoch)).permutation(self._count)
        return [int(row) for row in order[position * self._batch : (position + 1) * self._batch]]


def _fakes_by_source(faces: Sequence[Face]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, face in enumerate(faces):
        if face.is_fake:
            found.setdefault(face.source, []).append(row)
    return found
