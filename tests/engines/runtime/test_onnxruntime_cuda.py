"""Without a GPU: the binding is run on the CPU's provider, and the rest is held to what it must say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.errors import CheckpointError, InferenceError, RuntimeMissingError
from engines.runtime import onnxruntime_cuda
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.runtime.onnxruntime_cuda import CPU, CUDA, OnnxRuntimeCudaBackend, open_graph
from tests.engines.convolutions import convolutions, pictures

BOUND = OnnxRuntimeCudaBackend(convolutions(), threads=1, provider=CPU)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_binding_gives_what_a_plain_run_gives_at_any_batch(batch: int) -> None:
    arrays = {"crops": pictures(batch)}
    np.testing.assert_array_equal(
        BOUND.infer(arrays)["features"], OnnxRuntimeBackend(convolutions(), threads=1).infer(arrays)["features"]
    )


def test_outputs_belong_to_the_caller() -> None:
    first = BOUND.infer({"crops": pictures(2)})["features"]
    kept = first.copy()
    BOUND.infer({"crops": 1 - pictures(2)})
    np.testing.assert_array_equal(first, kept)


def test_a_view_is_taken_as_it_looks() -> None:
    view = pictures(4)[::2]
    np.testing.assert_array_equal(
        BOUND.infer({"crops": view})["features"], BOUND.infer({"crops": view.copy()})["features"]
    )


def test_inputs_are_checked_before_the_runtime_sees_them() -> None:
    with pytest.raises(InferenceError, match="crops must be float32"):
        BOUND.infer({"crops": pictures(1)[:, :1]})


def test_a_closed_model_runs_no_more_and_closes_twice() -> None:
    backend = OnnxRuntimeCudaBackend(convolutions(), provider=CPU)
    backend.close()
    backend.close()
    with pytest.raises(InferenceError, match="closed"):
        backend.infer({"crops": pictures(1)})


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(CheckpointError, match=r"broken\.onnx.*restore or rebuild"):
        OnnxRuntimeCudaBackend(path, provider=CPU)


@pytest.mark.parametrize(
    ("providers", "driver_says", "told"),
    [
        ([CPU], None, "pip install onnxruntime-gpu"),
        ([CPU], "no NVIDIA driver", "pip install onnxruntime-gpu"),
        ([CUDA, CPU], "no NVIDIA driver", "no NVIDIA driver"),
        ([CUDA, CPU], None, None),
    ],
)
def test_it_says_what_is_missing(
    providers: list[str], driver_says: str | None, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_cuda.ort, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime_cuda.driver, "unavailable", lambda: driver_says)
    reason = onnxruntime_cuda.unavailable()
    assert reason is None if told is None else told in (reason or "")
    if told is not None:
        with pytest.raises(RuntimeMissingError, match=told):
            open_graph(convolutions())


def test_a_build_that_turns_to_the_cpu_in_silence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fallen:
        """As ONNX Runtime answers where cuDNN cannot be loaded."""

        def __init__(self, *_: object, providers: list[object]) -> None:
            assert providers == [(CUDA, onnxruntime_cuda.OPTIONS), CPU]

        def get_providers(self) -> list[str]:
            return [CPU]

    monkeypatch.setattr(onnxruntime_cuda.ort, "InferenceSession", Fallen)
    with pytest.raises(RuntimeMissingError, match="cannot use this GPU"):
        OnnxRuntimeCudaBackend(convolutions())
