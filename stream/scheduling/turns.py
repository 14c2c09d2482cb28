"""Whose turn it is when not all can be served: weighted turns between streams, and order within each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Name = TypeVar("Name")

SAVED = 1.0
"""Of a stream's time, kept while it has nothing to ask for: without it, one face of a high priority would lose its lead
each time it is served."""


class Turns(Generic[Name]):
    """Start-time fair queueing (Goyal, Vin and Cheng 1996). Used by one thread.

    Every turn goes to the stream whose own time is earliest (of equals, the one served longest ago) and puts that time
    on by 1 / weight. A stream that had nothing left to ask for comes back at most ``SAVED`` behind the newest turn. So
    one of weight w among n streams of weights W waits W / w + W + n turns at most, however much the others ask for.
    """

    def __init__(self) -> None:
        self._time: dict[Name, float] = {}
        self._waiting: set[Name] = set()
        self._served: dict[Name, int] = {}
        """Number of each stream's last turn."""
        self._turn, self._now = 0, 0.0

    def take(
        self, waiting: Mapping[Name, Sequence[Item]], weights: Mapping[Name, int], limit: int | None
    ) -> dict[Name, tuple[Item, ...]]:
        """Up to ``limit`` items, of each stream the first ones; every given stream is in the answer."""
        counts = dict.fromkeys(waiting, 0)
        total = sum(map(len, waiting.values()))
        for name in waiting:
            if name not in self._waiting:
                self._time[name] = max(self._time.get(name, 0.0), self._now - SAVED)
        for _ in range(total if limit is None else min(limit, total)):
            counts[self._next([name for name, items in waiting.items() if counts[name] < len(items)], weights)] += 1
        for name, items in waiting.items():
            (self._waiting.add if counts[name] < len(items) else self._waiting.discard)(name)
        return {name: tuple(items[: counts[name]]) for name, items in waiting.items()}

    def forget(self, name: Name) -> None:
        """A stream that is over."""
        self._time.pop(name, None)
        self._served.pop(name, None)
        self._waiting.discard(name)

    def _next(self, names: Sequence[Name], weights: Mapping[Name, int]) -> Name:
        first = min(names, key=lambda name: (self._time[name], self._served.get(name, 0)))
        self._turn += 1
        self._served[first] = self._turn
        self._now = self._time[first]
        self._time[first] += 1 / weights[first]
        return first
