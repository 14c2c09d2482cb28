"""How long engines take, measured so that they can be compared: in turns, for no machine is quiet for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from engines.runtime.ports import Array, Backend
from engines.store import Timing

ROUNDS = 20
SECONDS = 1.0
"""Of each engine and batch, on average; whichever is over first."""
FEWEST_ROUNDS = 3


def timed(backend: Backend, arrays: Mapping[str, Array]) -> Timing:
    """One engine alone."""
    return timed_in_turns([backend], arrays)[0]


def timed_in_turns(
    backends: Sequence[Backend], arrays: Mapping[str, Array], clock: Callable[[], float] = time.perf_counter
) -> list[Timing]:
    """Of each on the same batch, after one call to warm up: whatever else the machine does meanwhile meets them all.

    ``clock`` gives seconds.
    """
    for backend in backends:
        backend.infer(arrays)
    taken: list[list[float]] = [[] for _ in backends]
    rounds, ends = 0, clock() + SECONDS * len(backends)
    while rounds < FEWEST_ROUNDS or (rounds < ROUNDS and clock() < ends):
        for number in _turn(len(backends), rounds):
            began = clock()
            backends[number].infer(arrays)
            taken[number].append((clock() - began) * 1e3)
        rounds += 1
    size = len(next(iter(arrays.values())))
    return [Timing(size, *map(float, np.percentile(ms, [50, 95]))) for ms in taken]


def _turn(count: int, number: int) -> list[int]:
    """All of them, beginning with another one in each round."""
    first = number % count
    return [*range(first, count), *range(first)]
