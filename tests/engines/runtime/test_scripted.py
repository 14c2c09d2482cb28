from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from engines.errors import InferenceError
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend


def doubling(result: str = "y", dtype: type = np.float32) -> ScriptedBackend:
    def double(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {result: (arrays["x"] * 2).astype(dtype)}

    return ScriptedBackend((TensorSpec("x", (None, 2)),), (TensorSpec("y", (None, 2)),), double)


def test_the_fake_runs_its_function_and_counts() -> None:
    backend = doubling()
    assert backend.infer({"x": np.ones((3, 2), np.float32)})["y"].tolist() == [[2, 2]] * 3
    assert backend.calls == 1


def test_the_fake_is_as_strict_as_a_runtime() -> None:
    backend = doubling()
    with pytest.raises(InferenceError, match="x must be"):
        backend.infer({"x": np.ones((3, 3), np.float32)})
    assert backend.calls == 0


@pytest.mark.parametrize("wrong", [doubling(result="z"), doubling(dtype=np.float64)])
def test_a_fake_that_breaks_its_own_promise_is_caught(wrong: ScriptedBackend) -> None:
    with pytest.raises(InferenceError):
        wrong.infer({"x": np.ones((1, 2), np.float32)})


def test_a_closed_fake_is_closed_twice_without_harm_and_runs_no_more() -> None:
    backend = doubling()
    backend.close()
    backend.close()
    with pytest.raises(InferenceError, match="closed"):
        backend.infer({"x": np.ones((1, 2), np.float32)})
