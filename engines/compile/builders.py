"""Who builds for which runtime: a table of functions, imported when they are asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from engines.compile.request import BuildRequest, BuiltFiles
from engines.errors import RuntimeMissingError


class Builder(Protocol):
    """Writes an engine's files into ``folder``. Raises EngineError with one line; then they count for nothing."""

    def __call__(self, graph: bytes, request: BuildRequest, folder: Path) -> BuiltFiles: ...


BUILDERS = {
    "tensorrt": "engines.tensorrt.builder:build",
    "tensorrt-rtx": "engines.tensorrt.builder:build_rtx",
    "openvino-cpu": "engines.compile.openvino_build:build",
    "onnxruntime-cuda": "engines.compile.onnxruntime_build:build_cuda",
    "onnxruntime-cpu": "engines.compile.onnxruntime_build:build",
}


def builder_for(runtime: str) -> Builder:
    """Raises RuntimeMissingError for a runtime that nothing is built for."""
    if runtime not in BUILDERS:
        raise RuntimeMissingError(f"nothing is built for {runtime!r}: use one of {', '.join(BUILDERS)}")
    module, _, function = BUILDERS[runtime].partition(":")
    return cast(Builder, getattr(import_module(module), function))
