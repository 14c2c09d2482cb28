"""Splits and their leaks: pictures of one source that lie in two splits are learnt by heart, not understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines.training.datasets.items import LabelledItem
from engines.training.errors import TrainingError

Shares = Mapping[str, float]
"""Split -> its part of the whole, such as train 0.8, val 0.1, test 0.1."""


@dataclass(frozen=True)
class Leak:
    """How much of a split is no test of anything."""

    items: int
    """Items whose source lies in two splits."""
    sources: int
    measured: int
    """Items outside ``train`` whose source lies in it too: answered by heart."""
    held_out: int
    """All items outside ``train``."""

    @property
    def share(self) -> float:
        """0-1 of what is measured on that was trained on, as good as."""
        return self.measured / self.held_out if self.held_out else 0.0

    def __str__(self) -> str:
        return f"{self.items} pictures leak: {self.sources} sources lie in two splits"


def leak_of(places: Iterable[tuple[str, str | None]]) -> Leak:
    """Of (source, split) pairs; items in no split are left out."""
    split = [(source, name) for source, name in places if name is not None]
    found: dict[str, set[str]] = {}
    for source, name in split:
        found.setdefault(source, set()).add(name)
    leaking = {source for source, names in found.items() if len(names) > 1}
    held_out = [source for source, name in split if name != "train"]
    measured = sum("train" in found[source] for source in held_out)
    return Leak(sum(source in leaking for source, _ in split), len(leaking), measured, len(held_out))


def refuse_leaks(places: Iterable[tuple[str, str | None]], *, force: bool = False) -> Leak:
    """The leak, told to whoever forces it. Raises TrainingError unless there is none or it is forced."""
    leak = leak_of(places)
    if leak.items and not force:
        raise TrainingError(f"{leak}; split by source, or insist with --force-leaky-split")
    return leak


def places(items: Iterable[LabelledItem]) -> list[tuple[str, str | None]]:
    """(source, split) of each item."""
    return [(item.source, item.split) for item in items]


def split_by_source(items: Sequence[LabelledItem], shares: Shares, seed: int) -> tuple[LabelledItem, ...]:
    """The items with splits that no source spans; shares are of sources. Raises TrainingError for bad shares."""
    sources = sorted({item.source for item in items})
    split_of = dict(zip(sources, _drawn(len(sources), shares, seed), strict=True))
    return tuple(replace(item, split=split_of[item.source]) for item in items)


def split_at_random(items: Sequence[LabelledItem], shares: Shares, seed: int) -> tuple[tuple[LabelledItem, ...], Leak]:
    """The items with splits drawn item by item, as many have published, and how much of that leaks: for study only."""
    drawn = _drawn(len(items), shares, seed)
    split = tuple(replace(item, split=name) for item, name in zip(items, drawn, strict=True))
    return split, leak_of(places(split))


def _drawn(count: int, shares: Shares, seed: int) -> list[str]:
    """A split for each of ``count`` things, in random order, in the given shares."""
    if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise TrainingError(f"shares of {dict(shares)} do not make 1: give for instance train 0.8, val 0.1, test 0.1")
    ends = np.round(np.cumsum(list(shares.values())) * count).astype(int)
    places_in_line = np.random.default_rng((seed, 6)).permutation(count)
    names = list(shares)
    return [names[int(np.searchsorted(ends, place, side="right"))] for place in places_in_line]
