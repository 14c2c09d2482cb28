from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from engines.errors import CheckpointError, InferenceError, RuntimeMissingError
from engines.runtime.ports import Array, Backend, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.runtime.swappable import Fallback, RuntimeChange, SwappableBackend

X = {"x": np.ones((2, 3), np.float32)}
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


class Named(ScriptedBackend):
    """A scripted backend with a name of its own, that knows whether it was closed."""

    def __init__(self, name: str, run: Run, inputs: tuple[int | None, ...] = (None, 3)) -> None:
        super().__init__((TensorSpec("x", inputs),), (TensorSpec("y", (None, 1)),), run)
        self.name = name
        self.is_closed = False

    def close(self) -> None:
        super().close()
        self.is_closed = True


def giving(value: float) -> Run:
    return lambda arrays: {"y": np.full((len(arrays["x"]), 1), value, np.float32)}


def failing(_: Mapping[str, Array]) -> dict[str, Array]:
    raise InferenceError("the device is lost: restart it")


def value_of(backend: Backend) -> float:
    return float(backend.infer(X)["y"][0, 0])


def swappable(
    first: Named, told: list[RuntimeChange], fallback: Callable[[], Backend] | None = None
) -> SwappableBackend:
    falls_to = Fallback("cpu", fallback) if fallback is not None else None
    return SwappableBackend(first, told.append, model="m", graph="backbone.onnx", fallback=falls_to)


def test_it_is_what_it_holds() -> None:
    first = Named("one", giving(1))
    backend = swappable(first, [])
    assert (backend.name, backend.inputs, backend.outputs) == ("one", first.inputs, first.outputs)
    assert value_of(backend) == 1


def test_a_swap_is_told_and_closes_the_one_before() -> None:
    told: list[RuntimeChange] = []
    first, second = Named("one", giving(1)), Named("two", giving(2))
    backend = swappable(first, told)
    assert backend.swap(second, detail="faster")
    assert (value_of(backend), backend.name) == (2, "two")
    assert (first.is_closed, second.is_closed) == (True, False)
    assert told == [RuntimeChange("m", "backbone.onnx", "one", "two", "built", "faster")]


def test_a_swap_waits_for_the_call_that_runs() -> None:
    running, may_end = threading.Event(), threading.Event()

    def slowly(arrays: Mapping[str, Array]) -> dict[str, Array]:
        running.set()
        assert may_end.wait(10)
        assert not first.is_closed
        return giving(1)(arrays)

    first = Named("one", slowly)
    backend = swappable(first, [])
    answers: list[float] = []
    caller = threading.Thread(target=lambda: answers.append(value_of(backend)))
    swapper = threading.Thread(target=lambda: backend.swap(Named("two", giving(2))))
    caller.start()
    assert running.wait(10)
    swapper.start()
    swapper.join(0.05)
    assert swapper.is_alive()
    assert backend.name == "one"  # and reading it waits for nobody
    may_end.set()
    caller.join(10)
    swapper.join(10)
    assert (answers, value_of(backend), first.is_closed) == ([1], 2, True)


def test_callers_and_swaps_in_haste_lose_no_call() -> None:
    told: list[RuntimeChange] = []
    backend = swappable(Named("0", giving(0)), told)
    over, answers = threading.Event(), list[float]()

    def call() -> None:
        while not over.is_set():
            answers.append(value_of(backend))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for number in range(1, 50):
        backend.swap(Named(str(number), giving(number)))
    over.set()
    for caller in callers:
        caller.join(10)
    assert not any(caller.is_alive() for caller in callers)
    assert set(answers) <= set(range(50))
    assert [(change.before, change.after) for change in told] == [(str(n), str(n + 1)) for n in range(49)]


def test_a_failing_runtime_is_left_for_the_fallback_which_answers_the_call() -> None:
    told: list[RuntimeChange] = []
    first, fallback = Named("gpu", failing), Named("cpu", giving(3))
    backend = swappable(first, told, lambda: fallback)
    assert [value_of(backend), value_of(backend)] == [3, 3]
    assert (backend.name, first.is_closed, fallback.calls) == ("cpu", True, 2)
    assert told == [RuntimeChange("m", "backbone.onnx", "gpu", "cpu", "failed", "the device is lost: restart it")]


def test_answers_that_are_not_numbers_are_a_failure() -> None:
    told: list[RuntimeChange] = []
    backend = swappable(Named("gpu", giving(float("nan"))), told, lambda: Named("cpu", giving(3)))
    assert value_of(backend) == 3
    assert "not a number" in told[0].detail


def test_a_fallback_that_fails_too_is_no_change() -> None:
    told: list[RuntimeChange] = []
    fallback = Named("cpu", failing)
    backend = swappable(Named("gpu", giving(float("inf"))), told, lambda: fallback)
    with pytest.raises(InferenceError, match="gpu gave"):
        backend.infer(X)
    assert (told, backend.name, fallback.is_closed) == ([], "gpu", True)


def test_a_fallback_that_cannot_be_opened_leaves_the_failure() -> None:
    def absent() -> Backend:
        raise RuntimeMissingError("not here")

    with pytest.raises(InferenceError, match="device is lost"):
        swappable(Named("gpu", failing), [], absent).infer(X)


def test_the_fallback_itself_is_not_replaced_when_it_fails() -> None:
    answers = iter([giving(1), failing])
    opened: list[Named] = []

    def open_fallback() -> Backend:
        opened.append(Named("cpu", lambda arrays: next(answers)(arrays)))
        return opened[-1]

    backend = swappable(Named("gpu", failing), [], open_fallback)
    assert value_of(backend) == 1
    with pytest.raises(InferenceError, match="device is lost"):
        backend.infer(X)
    assert len(opened) == 1


class OnDevice(Named):
    """Reads device memory too, until it fails."""

    fails = False

    def infer_device(self, pointers: Mapping[str, int], batch: int) -> dict[str, Array]:
        assert pointers == {"x": 4096}
        if self.fails:
            raise InferenceError("the device is lost: restart it")
        return {"y": np.ones((batch, 1), np.float32)}


def test_device_memory_is_read_for_as_long_as_the_runtime_that_answers_can() -> None:
    told: list[RuntimeChange] = []
    first = OnDevice("gpu", giving(1))
    backend = swappable(first, told, lambda: Named("cpu", giving(3)))
    infer = backend.infer_device
    assert infer is not None
    assert infer({"x": 4096}, 2)["y"].shape == (2, 1)
    first.fails = True
    with pytest.raises(InferenceError, match="device is lost"):
        infer({"x": 4096}, 2)
    assert [change.reason for change in told] == ["failed"]
    assert (backend.infer_device, value_of(backend)) == (None, 3)
    with pytest.raises(InferenceError, match="reads no device memory"):
        infer({"x": 4096}, 2)


def test_without_a_fallback_a_failure_is_the_callers() -> None:
    with pytest.raises(InferenceError, match="device is lost"):
        swappable(Named("gpu", failing), []).infer(X)


def test_arrays_that_do_not_fit_change_nothing() -> None:
    told: list[RuntimeChange] = []
    backend = swappable(Named("gpu", giving(1)), told, lambda: Named("cpu", giving(3)))
    with pytest.raises(InferenceError, match="x must be"):
        backend.infer({"x": np.ones((2, 4), np.float32)})
    assert (told, backend.name) == ([], "gpu")


@pytest.mark.parametrize("shape", [(None, 4), (None, 3, 1), (None,)])
def test_other_shapes_are_refused(shape: tuple[int | None, ...]) -> None:
    first, other = Named("one", giving(1)), Named("two", giving(2), shape)
    backend = swappable(first, [])
    with pytest.raises(CheckpointError, match=r"two has x .* where one has x .*build the engine again"):
        backend.swap(other)
    assert (backend.name, first.is_closed, other.is_closed) == ("one", False, False)


def test_a_dimension_that_is_left_open_fits() -> None:
    assert swappable(Named("one", giving(1)), []).swap(Named("two", giving(2), (None, None)))


def test_a_swap_after_the_end_closes_what_comes_late() -> None:
    told: list[RuntimeChange] = []
    first, late = Named("one", giving(1)), Named("two", giving(2))
    backend = swappable(first, told)
    backend.close()
    backend.close()
    assert not backend.swap(late)
    assert (first.is_closed, late.is_closed, told) == (True, True, [])
    with pytest.raises(InferenceError, match="closed"):
        backend.infer(X)
