"""ONNX Runtime on the CPU: the default runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from engines.errors import CheckpointError, InferenceError
from engines.runtime.ports import Array, TensorSpec, check_inputs
from engines.runtime.processor import processor

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64", "tensor(uint8)": "uint8"}


def unavailable() -> str | None:
    """It is always here: this project depends on it."""
    return None


def version() -> str:
    return str(ort.__version__)


def machine() -> str:
    """An optimised graph may hold kernels of this processor's instruction sets."""
    return processor()


def open_graph(model: Path | bytes, *, threads: int = 0) -> OnnxRuntimeBackend:
    """Raises CheckpointError."""
    return OnnxRuntimeBackend(model, threads=threads)


class OnnxRuntimeBackend:
    """A graph run by ONNX Runtime's CPU provider. ``model`` is a file or the graph's bytes."""

    name = "onnxruntime-cpu"

    def __init__(self, model: Path | bytes, *, threads: int = 0) -> None:
        """``threads``: 0 lets ONNX Runtime choose. Raises CheckpointError when the graph cannot be loaded."""
        self._session: Any = _session(model, threads)
        self.inputs = tuple(tensor_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(tensor_spec(node) for node in self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if self._session is None:
            raise InferenceError("the model was closed: load it again")
        check_inputs(self.inputs, arrays)
        try:
            values = self._session.run(self._output_names, dict(arrays))
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise InferenceError(f"ONNX Runtime failed: {first_line(error)}; try another --backend") from error
        return dict(zip(self._output_names, values, strict=True))

    def close(self) -> None:
        self._session = None


def _session(model: Path | bytes, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves the video threads
    source = str(model) if isinstance(model, Path) else model
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above: no base class
        where = model if isinstance(model, Path) else "the given graph"
        raise CheckpointError(f"cannot load {where}: {first_line(error)}; restore or rebuild it") from error


def tensor_spec(node: Any) -> TensorSpec:
    """Of ONNX Runtime's description of an input or output."""
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
    return TensorSpec(node.name, shape, _DTYPES.get(node.type, node.type))


def first_line(error: Exception) -> str:
    """What ONNX Runtime says first; the rest is its stack."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
