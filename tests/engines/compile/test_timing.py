"""Engines are measured against each other: what the machine does meanwhile meets them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from engines.compile.timing import FEWEST_ROUNDS, ROUNDS, timed, timed_in_turns
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend

X = {"x": np.zeros((4, 2), np.float32)}


class Machine:
    """A clock that calls wind on, and what was called."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slowness = 1.0
        self.order = ""

    def clock(self) -> float:
        return self.now_s

    def backend(self, name: str, seconds: Sequence[float]) -> ScriptedBackend:
        """Takes so long in each of its calls, and from the last on always as long as that."""
        calls = iter(seconds)
        last = seconds[-1]

        def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
            self.order += name
            self.now_s += next(calls, last) * self.slowness
            return {"y": arrays["x"]}

        return ScriptedBackend((TensorSpec("x", (None, 2)),), (TensorSpec("y", (None, 2)),), run)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_engines_take_turns_and_each_begins_one(machine: Machine) -> None:
    backends = [machine.backend(name, [1.0]) for name in "abc"]
    timed_in_turns(backends, X, machine.clock)
    assert machine.order == "abc" + "abcbcacab"


def test_the_warm_up_does_not_count(machine: Machine) -> None:
    (timing,) = timed_in_turns([machine.backend("a", [9.0, 0.25])], X, machine.clock)
    assert (timing.batch, timing.p50_ms, timing.p95_ms) == (4, 250.0, 250.0)


def test_a_machine_that_is_busy_for_a_while_is_so_for_all(machine: Machine) -> None:
    """One engine after the other, the first would have met the whole of it."""
    busy = [1 / 16] * 6 + [1 / 2] * 5 + [1 / 16] * 10
    one, other = timed_in_turns([machine.backend(name, busy) for name in "ab"], X, machine.clock)
    assert one == other


@pytest.mark.parametrize(("seconds", "rounds"), [(1 / 128, ROUNDS), (1 / 8, 8), (4.0, FEWEST_ROUNDS)])
def test_fast_engines_run_many_rounds_and_slow_ones_a_few(machine: Machine, seconds: float, rounds: int) -> None:
    timed_in_turns([machine.backend(name, [seconds]) for name in "ab"], X, machine.clock)
    assert machine.order.count("a") == machine.order.count("b") == 1 + rounds


def test_one_alone_is_timed_too(machine: Machine) -> None:
    timing = timed(machine.backend("a", [1.0]), X)
    assert timing.batch == 4
    assert timing.p95_ms >= timing.p50_ms > 0
