"""NVIDIA TensorRT through pycuda: servers and Jetson. Runs engines that build_engines.py has made."""

from __future__ import annotations

from pathlib import Path

from engines.runtime.ports import Backend
from engines.tensorrt import driver, opening


def unavailable() -> str | None:
    return opening.unavailable("tensorrt")


def version() -> str:
    return opening.version("tensorrt")


def machine() -> str:
    """GPU, SM and, on a Jetson, L4T. Raises RuntimeMissingError."""
    return driver.find_gpu().machine


def open_graph(model: Path | bytes, *, threads: int = 0) -> Backend:  # noqa: ARG001  # the GPU's runtimes have none
    return opening.open_engine("tensorrt", model)
