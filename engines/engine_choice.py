"""Which engine runs a graph on this machine: the fastest that was proven here, or else the source graph.

Nothing is loaded that a manifest does not name with its hash, and no engine of another machine, runtime or recipe.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engines.errors import EngineError, RuntimeMissingError
from engines.runtime.ports import Backend
from engines.runtime.table import ALWAYS, RUNTIMES, require, runtime
from engines.store import BUILT, RECIPE, EngineKey, Manifest, damaged, differences, manifests_under
from engines.tensorrt.travel import key_on

log = logging.getLogger(__name__)

AUTO = "auto"
TRAVELS = ("tensorrt", "tensorrt-rtx")
"""Runtimes whose engines may be built for other machines than the one that builds."""
WORTH = 1.1
"""How many times as fast an engine of another runtime must be as the one that always runs, to be taken before it: what
differs by less in a loop of its own may be the slower one beside everything else, and costs memory besides."""
READS_GRAPHS = ("openvino-cpu", "onnxruntime-cuda", "onnxruntime-cpu")
"""Runtimes that also run a graph that nobody built an engine of."""


@dataclass(frozen=True)
class Graph:
    """One source graph, as engines are keyed by it."""

    model: str
    """A model's or a face detector's name."""
    file: str
    source: Path | bytes
    sha256: str
    promise: str = ""
    """Digest of what its engines were judged by besides it: pixels, calibration, verdicts, head."""
    size: str = ""
    """``WxH`` of the pictures that it will be given, where it takes any: an engine may be of one size."""

    @property
    def options(self) -> tuple[str, ...]:
        """Of its engines' keys."""
        return (f"promise={self.promise}",) if self.promise else ()


@dataclass(frozen=True)
class Opened:
    """A backend, and why it is this one."""

    backend: Backend
    why: str
    """One line for people."""
    precision: str = "fp32"
    engine: str = ""
    """Digest of its key, where it was built for this machine; "" is the source graph."""

    @property
    def runs_on(self) -> tuple[str, str]:
        """Of two that are the same engine, or the same runtime on the source graph, the same."""
        return self.backend.name, self.engine


def open_fastest(graph: Graph, *, backend: str = AUTO, threads: int = 0, root: Path = BUILT) -> Opened:
    """The engine that was fastest when it was measured, of one runtime or of any; else the graph itself.

    An engine that cannot be opened is logged, and the next one is taken. Raises RuntimeMissingError for a runtime that
    is not here or has nothing to run, and CheckpointError for a graph that cannot be read.
    """
    if backend != AUTO:
        require(backend)
    for folder, manifest in engines_here(graph, root, backend):
        try:
            opened = runtime(manifest.key.runtime).open_graph(folder / manifest.engine_file, threads=threads)
        except EngineError as error:
            log.warning("the %s engine of %s cannot be opened: %s", manifest.key.runtime, graph.model, error)
            continue
        return Opened(opened, _why(manifest), manifest.key.precision, manifest.key.digest)
    return _open_source(graph, ALWAYS if backend == AUTO else backend, threads)


def engines_here(graph: Graph, root: Path = BUILT, backend: str = AUTO) -> list[tuple[Path, Manifest]]:
    """Whole engines of the graph that fit this machine, the fastest first; what does not fit is logged.

    Of those that are about as fast, what always runs comes first: see ``WORTH``.
    Times of another machine say little here: what was built elsewhere comes after what its runtime has built here.
    """
    found = [
        (folder, manifest)
        for folder, manifest in manifests_under(root / graph.model)
        if backend in (AUTO, manifest.key.runtime) and _is_of(graph, manifest.key) and _is_usable(folder, manifest)
    ]
    from_elsewhere = {folder for folder, manifest in found if is_from_elsewhere(manifest.key)}
    built_here = {manifest.key.runtime for folder, manifest in found if folder not in from_elsewhere}

    def order(entry: tuple[Path, Manifest]) -> tuple[bool, float]:
        folder, manifest = entry
        name = manifest.key.runtime
        return folder in from_elsewhere and name in built_here, manifest.item_ms * (1.0 if name == ALWAYS else WORTH)

    return sorted(found, key=order)


def key_here(key: EngineKey) -> EngineKey:
    """The key as this machine would make it, as far as TensorRT's lets its engine travel.

    Raises RuntimeMissingError when its runtime is not here.
    """
    module = require(key.runtime)
    if key.runtime in TRAVELS:
        return key_on(key, module.version(), module.machine())
    return replace(key, runtime_version=module.version(), machine=module.machine(), recipe=RECIPE)


def size_of(key: EngineKey) -> str | None:
    """``WxH`` of the only pictures that the engine of a network over pictures of any size takes; None: as its graph."""
    sizes = [option.partition("=")[2] for option in key.options if option.startswith("size=")]
    return sizes[0] if sizes else None


def is_from_elsewhere(key: EngineKey) -> bool:
    """Whether an engine that fits here was built, and timed, on another machine or version."""
    module = require(key.runtime)
    return (key.runtime_version, key.machine) != (module.version(), module.machine())


def misfits(folder: Path, manifest: Manifest) -> list[str]:
    """Why an engine is not to be used here, a line each; [] when it fits and is whole."""
    try:
        return [*differences(manifest.key, key_here(manifest.key)), *_harm(folder, manifest)]
    except RuntimeMissingError as error:
        return [str(error)]


def _harm(folder: Path, manifest: Manifest) -> Iterator[str]:
    for name in damaged(folder, manifest):
        yield f"{name} is missing or was changed"


def _is_of(graph: Graph, key: EngineKey) -> bool:
    known = key.runtime in RUNTIMES and set(graph.options) <= set(key.options) and size_of(key) in (None, graph.size)
    takes_one = min(key.batches) == 1 or key.runtime in READS_GRAPHS  # a profile from 8 on refuses a single face
    return known and takes_one and (key.model, key.graph, key.source_sha256) == (graph.model, graph.file, graph.sha256)


def _is_usable(folder: Path, manifest: Manifest) -> bool:
    reasons = misfits(folder, manifest)
    if reasons:
        what = f"the {manifest.key.runtime} {manifest.key.precision} engine of {manifest.key.model}"
        log.warning("%s is left out (%s): run build_engines.py", what, "; ".join(reasons))
    return not reasons


def _why(manifest: Manifest) -> str:
    key = manifest.key
    where = f" on {key.machine} with {key.runtime_version}" if is_from_elsewhere(key) else ""
    return f"{key.runtime} {key.precision}: the fastest engine here, {manifest.item_ms:.1f} ms when it was built{where}"


def _open_source(graph: Graph, name: str, threads: int) -> Opened:
    if name not in READS_GRAPHS:
        way_out = f"build one (build_engines.py --runtime {name} --model {graph.model})"
        raise RuntimeMissingError(f"no {name} engine of {graph.model} for this machine: {way_out}")
    why = f"{name}: the graph as it is, no engine was built"
    return Opened(runtime(name).open_graph(graph.source, threads=threads), why)
