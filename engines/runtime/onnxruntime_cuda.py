"""ONNX Runtime on an NVIDIA GPU: for builds of it that bring the CUDA provider.

Arrays go to the GPU and back by an I/O binding, one copy each way. Float32 means float32: TensorFloat-32 stays off.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from engines.errors import CheckpointError, InferenceError, RuntimeMissingError
from engines.runtime.onnxruntime_cpu import first_line, tensor_spec
from engines.runtime.ports import Array, check_inputs
from engines.tensorrt import driver

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
OPTIONS = {"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""An exhaustive search would time every convolution anew for each batch that it meets first."""


def unavailable() -> str | None:
    """Without opening anything on the GPU."""
    if CUDA not in ort.get_available_providers():
        return "this onnxruntime has no CUDA provider: pip uninstall onnxruntime, then pip install onnxruntime-gpu"
    return driver.unavailable()


def version() -> str:
    return str(ort.__version__)


def machine() -> str:
    """GPU, SM and, on a Jetson, L4T. Raises RuntimeMissingError."""
    return driver.find_gpu().machine


def open_graph(model: Path | bytes, *, threads: int = 0) -> OnnxRuntimeCudaBackend:
    """Raises CheckpointError, and RuntimeMissingError where there is no such GPU, driver or library."""
    reason = unavailable()
    if reason is not None:
        raise RuntimeMissingError(reason)
    return OnnxRuntimeCudaBackend(model, threads=threads)


class OnnxRuntimeCudaBackend:
    """A graph run by ONNX Runtime through an I/O binding. ``model`` is a file or the graph's bytes."""

    name = "onnxruntime-cuda"

    def __init__(self, model: Path | bytes, *, threads: int = 0, provider: str = CUDA) -> None:
        """``threads``: of the layers that stay on the CPU. ``provider``: tests bind to the CPU's.

        Raises CheckpointError for a graph that cannot be loaded, RuntimeMissingError when ONNX Runtime turns to another
        provider than the one asked for, as it does, silently, where cuDNN is missing.
        """
        self._session: Any = _session(model, threads, provider)
        self._device = "cuda" if provider == CUDA else "cpu"
        self.inputs = tuple(tensor_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(tensor_spec(node) for node in self._session.get_outputs())

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if self._session is None:
            raise InferenceError("the model was closed: load it again")
        check_inputs(self.inputs, arrays)
        try:
            values = self._run(arrays)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise InferenceError(f"ONNX Runtime failed: {first_line(error)}; try another --backend") from error
        return {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}

    def _run(self, arrays: Mapping[str, Array]) -> list[Array]:
        """A binding of its own for each call: outputs are of that call's batch, and the caller's to keep."""
        binding = self._session.io_binding()
        for spec in self.inputs:
            binding.bind_cpu_input(spec.name, np.ascontiguousarray(arrays[spec.name]))
        for spec in self.outputs:
            binding.bind_output(spec.name, self._device)
        self._session.run_with_iobinding(binding)
        return [np.array(value) for value in binding.copy_outputs_to_cpu()]

    def close(self) -> None:
        self._session = None


def _session(model: Path | bytes, threads: int, provider: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves the video threads
    providers = [(CUDA, OPTIONS), CPU] if provider == CUDA else [provider]
    source = str(model) if isinstance(model, Path) else model
    try:
        session = ort.InferenceSession(source, options, providers=providers)
    except Exception as error:  # as above: no base class
        where = model if isinstance(model, Path) else "the given graph"
        raise CheckpointError(f"cannot load {where}: {first_line(error)}; restore or rebuild it") from error
    if provider not in session.get_providers():
        raise RuntimeMissingError("ONNX Runtime cannot use this GPU: install the CUDA and cuDNN that its build names")
    return session
