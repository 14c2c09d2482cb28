"""OpenVINO on the CPU: float32, bfloat16 where the processor has it, and int8 from graphs that say so themselves.

Its engine is OpenVINO's own form of a graph, two files, in which stands the precision that it was proven in. OpenVINO
takes bfloat16 by itself on processors that have it: here the precision is always asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from engines.errors import CheckpointError, InferenceError, RuntimeMissingError
from engines.runtime.ports import Array, TensorSpec, check_inputs
from engines.runtime.processor import has_bf16, processor

ENGINE_FILE, WEIGHTS_FILE = "engine.xml", "engine.bin"
_TELEMETRY = "openvino_telemetry"
_PRECISION = ["unmask", "precision"]
"""Where it stands in an engine's runtime information."""
_COMPUTES_IN = {"fp32": ("f32",), "bf16": ("bf16",), "int8": ("bf16", "f32")}
"""What OpenVINO is told, the first that the processor has. Of int8: for what the graph leaves unquantised; in float32
that made int8 slower than bfloat16 alone (Inception-v3: 300 and 219 ms; with bfloat16 182)."""


def unavailable() -> str | None:
    """Without importing it, for that takes a third of a second."""
    return None if find_spec("openvino") else "the package openvino is not installed: pip install -e '.[openvino]'"


def version() -> str:
    return version_of("openvino")


def machine() -> str:
    return processor()


def open_graph(model: Path | bytes, *, threads: int = 0) -> OpenVinoBackend:
    """An engine in the precision it was built for, or an ONNX graph in float32.

    Raises CheckpointError, and RuntimeMissingError where the package or the processor's bfloat16 is missing.
    """
    return OpenVinoBackend(model, threads=threads)


def save_engine(graph: bytes, precision: str, folder: Path) -> tuple[str, ...]:
    """Write an ONNX graph as an engine; gives the names of its files, the one to open first.

    Raises CheckpointError when OpenVINO cannot read the graph, RuntimeMissingError as ``open_graph`` does.
    """
    core = _core()
    _refuse_what_the_processor_lacks(precision)
    read = _read(core, graph)
    read.set_rt_info(precision, _PRECISION)
    _openvino().save_model(read, folder / ENGINE_FILE, compress_to_fp16=False)
    return ENGINE_FILE, WEIGHTS_FILE


class OpenVinoBackend:
    """A graph compiled once for any batch. ``model`` is an engine's file, an ONNX file or an ONNX graph's bytes."""

    name = "openvino-cpu"

    def __init__(self, model: Path | bytes, *, threads: int = 0) -> None:
        """``threads``: 0 lets OpenVINO choose. Raises as ``open_graph``."""
        core = _core()
        read = _read(core, model)
        self.precision = _precision_of(read)
        _refuse_what_the_processor_lacks(self.precision)
        self.inputs = tuple(_tensor_spec(port) for port in read.inputs)
        self.outputs = tuple(_tensor_spec(port) for port in read.outputs)
        self._request: Any = _compiled(core, read, self.precision, threads, model).create_infer_request()

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if self._request is None:
            raise InferenceError("the model was closed: load it again")
        check_inputs(self.inputs, arrays)
        whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        try:
            values = self._request.infer(whole, share_inputs=True)  # outputs are copied, inputs need not be
        except Exception as error:  # whatever OpenVINO's binding raises
            raise InferenceError(f"OpenVINO failed: {_reason(error)}; try another --backend") from error
        return {spec.name: np.array(values[index]) for index, spec in enumerate(self.outputs)}

    def close(self) -> None:
        self._request = None


def _core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    """The package, without the one beside it that tells its maker of every import, over the network and by a fork.

    What is not to be found is not used: OpenVINO then takes a stub of its own.
    """
    reason = unavailable()
    if reason is not None:
        raise RuntimeMissingError(reason)
    sys.modules.setdefault(_TELEMETRY, cast(ModuleType, None))
    return import_module("openvino")


def _read(core: Any, model: Path | bytes) -> Any:
    try:
        return core.read_model(model)
    except Exception as error:  # as above
        raise CheckpointError(f"cannot load {_named(model)}: {_reason(error)}; restore or rebuild it") from error


def _compiled(core: Any, read: Any, precision: str, threads: int, model: Path | bytes) -> Any:
    try:
        return core.compile_model(read, "CPU", _settings(_computes_in(precision), threads))
    except Exception as error:  # as above
        raise CheckpointError(f"cannot compile {_named(model)}: {_reason(error)}; rebuild it") from error


def _computes_in(precision: str) -> str:
    ways = _COMPUTES_IN[precision]
    return ways[0] if ways[0] == "f32" or has_bf16() else ways[-1]


def _settings(hint: str, threads: int) -> dict[str, Any]:
    """One stream, for one caller waits; threads unpinned, for the video's threads want those cores too."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": hint,
    }


def _precision_of(read: Any) -> str:
    """fp32 for a graph that does not say."""
    if not read.has_rt_info(_PRECISION):
        return "fp32"
    precision = str(read.get_rt_info(_PRECISION).value)
    if precision not in _COMPUTES_IN:
        known = ", ".join(_COMPUTES_IN)
        raise CheckpointError(f"an engine of precision {precision!r}, not one of {known}: rebuild it")
    return precision


def _refuse_what_the_processor_lacks(precision: str) -> None:
    if precision == "bf16" and not has_bf16():
        raise RuntimeMissingError("this processor has no bfloat16 (avx512_bf16 or AMX): build with --precision fp32")


def _tensor_spec(port: Any) -> TensorSpec:
    shape = tuple(None if size.is_dynamic else int(size.get_length()) for size in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), shape, np.dtype(port.get_element_type().to_dtype()).name)


def _named(model: Path | bytes) -> str:
    return str(model) if isinstance(model, Path) else "the given graph"


def _reason(error: Exception) -> str:
    """OpenVINO's last line that says something; those before it name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (told or lines or [type(error).__name__])[-1].rstrip(".")
