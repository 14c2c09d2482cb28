"""The runtimes, as data: each a module, imported when it is asked for.

A runtime's module offers four plain functions, whose types are ``RuntimeModule``:

- ``unavailable()``: None when it can run here, else one line that says what is missing and the way out;
- ``version()``: in full, for engine keys;
- ``machine()``: what an engine of it depends on here (processor, or GPU with SM and L4T);
- ``open_graph(model, threads=0)``: a Backend of an ONNX graph or of an engine's file.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from engines.errors import RuntimeMissingError
from engines.runtime.ports import Backend


class RuntimeModule(Protocol):
    """What every runtime's module offers. ``unavailable`` must import nothing heavy when it can say no sooner."""

    def unavailable(self) -> str | None: ...

    def version(self) -> str: ...

    def machine(self) -> str: ...

    def open_graph(self, model: Path | bytes, *, threads: int = 0) -> Backend: ...


@dataclass(frozen=True)
class RuntimeRow:
    """One runtime."""

    module: str
    summary: str
    precisions: tuple[str, ...]
    """That its engines can be built in, fp32 first."""
    is_reference: bool = False
    """Runs networks rather than engines: for parity, never chosen by ``auto``."""


RUNTIMES = {
    "tensorrt": RuntimeRow("engines.runtime.tensorrt_cuda", "NVIDIA TensorRT through pycuda", ("fp32", "fp16", "int8")),
    "tensorrt-rtx": RuntimeRow(
        "engines.runtime.tensorrt_rtx", "NVIDIA TensorRT for RTX through pycuda", ("fp32", "fp16", "int8")
    ),
    "onnxruntime-cuda": RuntimeRow("engines.runtime.onnxruntime_cuda", "ONNX Runtime on a GPU", ("fp32", "fp16")),
    "openvino-cpu": RuntimeRow("engines.runtime.openvino_cpu", "OpenVINO on the CPU", ("fp32", "bf16", "int8")),
    "onnxruntime-cpu": RuntimeRow("engines.runtime.onnxruntime_cpu", "ONNX Runtime on the CPU", ("fp32", "int8")),
}
"""The one that is always there comes last."""
ALWAYS = "onnxruntime-cpu"


def runtime(name: str) -> RuntimeModule:
    """The module. Raises RuntimeMissingError for a name that is not in the table."""
    row = RUNTIMES.get(name)
    if row is None:
        raise RuntimeMissingError(f"no runtime {name!r}: use one of {', '.join(RUNTIMES)}")
    return cast(RuntimeModule, import_module(row.module))


def require(name: str) -> RuntimeModule:
    """As ``runtime``; raises RuntimeMissingError with the runtime's own words when it cannot run here."""
    module = runtime(name)
    reason = module.unavailable()
    if reason is not None:
        raise RuntimeMissingError(f"{name} cannot run here: {reason}")
    return module


def runtimes_here() -> tuple[str, ...]:
    """Those that can run on this machine, in the table's order."""
    return tuple(name for name in RUNTIMES if runtime(name).unavailable() is None)
