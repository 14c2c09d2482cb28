"""Whose turn it is when not all can be served: weighted turns between streams, and order within each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Name = TypeVar("Name")


class Turns(Generic[Name]):
    """Smooth weighted round robin. Used by one thread.

    In each turn every stream that waits earns its weight, the richest is served and pays for all. So a stream of weight
    w among waiting weights W is served after W / w turns at the latest, however much the others ask for; and credit is
    kept from one call to the next only while something of the stream is left over.
    """

    def __init__(self) -> None:
        self._credit: dict[Name, int] = {}

    def take(
        self, waiting: Mapping[Name, Sequence[Item]], weights: Mapping[Name, int], limit: int | None
    ) -> dict[Name, tuple[Item, ...]]:
        """Up to ``limit`` items, of each stream the first ones; every given stream is in the answer."""
        total = sum(map(len, waiting.values()))
        if limit is None or total <= limit:
            taken = {name: len(items) for name, items in waiting.items()}
        else:
            taken = dict.fromkeys(waiting, 0)
            for _ in range(limit):
                taken[self._next([n for n, items in waiting.items() if taken[n] < len(items)], weights)] += 1
        for name, items in waiting.items():
            if taken[name] == len(items):
                self._credit.pop(name, None)
        return {name: tuple(items[: taken[name]]) for name, items in waiting.items()}

    def forget(self, name: Name) -> None:
        """A stream that is over."""
        self._credit.pop(name, None)

    def _next(self, names: Sequence[Name], weights: Mapping[Name, int]) -> Name:
        for name in names:
            self._credit[name] = self._credit.get(name, 0) + weights[name]
        richest = max(names, key=lambda name: self._credit[name])
        self._credit[richest] -= sum(weights[name] for name in names)
        return richest
