"""The graphs that engines are built from on this machine, each as a wish without a runtime yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from engines.catalog import SPEC_FILE, graph_of, graphs_of, model_folder, models_here
from engines.errors import EngineError
from engines.spec import ModelSpec, load_spec, verify_file
from engines.store import EngineKey
from stream.engine_wish import Wish
from stream.faces.open import DEFAULT_WIDTH, detector_graph

DEFAULT_DETECTOR = "centerface"
Sources = Mapping[tuple[str, str], Wish]
"""By model and file name, as keys have them."""


def model_sources(name: str) -> Iterator[Wish]:
    """Of a model by its name or its folder. Raises SpecError or CheckpointError."""
    folder = model_folder(name)
    spec = load_spec(folder / SPEC_FILE)
    for file in graphs_of(spec):
        yield Wish(folder, file, spec, _blank(spec, folder, file))


def detector_source(name: str, weights: Path | None, width: int = DEFAULT_WIDTH) -> Wish:
    """``width``: longest side of the pictures that it will search. Raises UsageError or ModelError."""
    graph = detector_graph(name, weights, width)
    key = EngineKey(graph.model, graph.file, graph.sha256, "", "", "")
    return Wish(None, graph.file, None, key, detector=name, source=graph.source, size=graph.size)


def sources_here(names: Iterable[str], detector: str = "", weights: Path | None = None) -> Sources:
    """Of every model that is found by its name, of those that are named besides, and of the detectors.

    A model that nobody named and that cannot be read is left out. Raises as the functions above for those named.
    """
    detectors = [detector_source(DEFAULT_DETECTOR, None)]
    if detector:
        detectors.append(detector_source(detector, weights))
    wishes = [*_readable(models_here()), *(wish for name in names for wish in model_sources(name)), *detectors]
    return {(wish.key.model, wish.key.graph): wish for wish in wishes}


def verify_source(wish: Wish) -> None:
    """Raises CheckpointError for a model's graph that is not what its spec says; detectors' are hashed when read."""
    if wish.folder is not None:
        verify_file(wish.folder / wish.file, wish.key.source_sha256)


def replaced(key: EngineKey, sources: Sources) -> str | None:
    """Why an engine is not of what its model is today; None when it is, or when nobody knows its model."""
    source = sources.get((key.model, key.graph))
    if source is None:
        return None
    if source.key.source_sha256 != key.source_sha256:
        return "its weights were replaced"
    if not set(source.key.options) <= set(key.options):
        return "its spec has changed: pixels, calibration, verdicts or head"
    return None


def _readable(names: Iterable[str]) -> Iterator[Wish]:
    for name in names:
        try:
            yield from list(model_sources(name))
        except EngineError:
            continue


def _blank(spec: ModelSpec, folder: Path, file: str) -> EngineKey:
    graph = graph_of(spec, folder, file)
    return EngineKey(graph.model, graph.file, graph.sha256, "", "", "", options=graph.options)
