"""Engines of OpenVINO: the graph in its own form, with the precision to run it in."""

from __future__ import annotations

from pathlib import Path

from engines.compile.request import BuildRequest, BuiltFiles
from engines.runtime import openvino_cpu


def build(graph: bytes, request: BuildRequest, folder: Path) -> BuiltFiles:
    """It takes any batch. Raises CheckpointError or RuntimeMissingError."""
    request.on_progress("converting", 0.0)
    files = openvino_cpu.save_engine(graph, request.precision, folder)
    request.on_progress("converting", 1.0)
    return BuiltFiles(files[0], files, {"openvino": openvino_cpu.version()})
