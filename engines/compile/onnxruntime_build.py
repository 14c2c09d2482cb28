"""Engines of ONNX Runtime: the graph, folded and fused for this processor, or for a GPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from engines.compile.request import BuildRequest, BuiltFiles
from engines.errors import BuildError

ENGINE_FILE = "engine.onnx"


def build(graph: bytes, request: BuildRequest, folder: Path) -> BuiltFiles:
    """For the CPU."""
    return _optimised(graph, request, folder, "CPUExecutionProvider")


def build_cuda(graph: bytes, request: BuildRequest, folder: Path) -> BuiltFiles:
    """For a GPU; what it cannot run stays on the CPU."""
    return _optimised(graph, request, folder, "CUDAExecutionProvider")


def _optimised(graph: bytes, request: BuildRequest, folder: Path, provider: str) -> BuiltFiles:
    request.on_progress("optimising", 0.0)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(folder / ENGINE_FILE)
    options.log_severity_level = 4  # the warning that the file is machine-specific is the very point
    try:
        ort.InferenceSession(graph, options, providers=[provider, "CPUExecutionProvider"][: 1 + ("CUDA" in provider)])
    except Exception as error:  # onnxruntime's exceptions share no base class
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BuildError("build", f"ONNX Runtime refuses the graph ({first}): take --precision fp32") from error
    request.on_progress("optimising", 1.0)
    return BuiltFiles(ENGINE_FILE, (ENGINE_FILE,), {"onnxruntime": ort.__version__, "provider": provider})
