"""The models this project ships, as data, and how to load one without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.errors import CheckpointError, RuntimeMissingError
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.runtime.ports import Backend
from engines.spec import ModelSpec, load_spec, verify_files
from engines.store import BUILT, find_engine, key_for

WEIGHTS = Path(__file__).parent / "weights"
SPEC_FILE, BACKBONE_FILE, HEAD_FILE = "spec.json", "backbone.onnx", "head.onnx"


@dataclass(frozen=True)
class CatalogRow:
    """One shipped model."""

    name: str
    summary: str
    max_logit_delta: float
    """Largest |Δlogit| a runtime may show against the torch reference."""

    @property
    def folder(self) -> Path:
        return WEIGHTS / self.name


CATALOG = {
    row.name: row
    for row in (CatalogRow("lite0-gru", "EfficientNet-lite0 features, GRU head over 20 samples", max_logit_delta=0.02),)
}
DEFAULT_MODEL = "lite0-gru"
BACKENDS = {OnnxRuntimeBackend.name: OnnxRuntimeBackend}
"""What can run a model on this machine, the best first; ``auto`` takes that."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run: its promise and its two graphs."""

    spec: ModelSpec
    backbone: Backend
    """``crops`` (N, 3, S, S) float32 -> ``features`` (N, F), ``frame_logit`` (N, 1)."""
    head: Backend
    """``features`` (N, T, F), ``mask`` (N, T) float32 -> ``logit`` (N, 1)."""

    def close(self) -> None:
        self.backbone.close()
        self.head.close()


def model_folder(name_or_folder: str) -> Path:
    """The folder of a catalog name, or the folder itself. Raises CheckpointError when it is neither."""
    if name_or_folder in CATALOG:
        return CATALOG[name_or_folder].folder
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder
    raise CheckpointError(f"no model {name_or_folder!r}: use one of {', '.join(sorted(CATALOG))}, or a model's folder")


def open_model(
    name_or_folder: str = DEFAULT_MODEL, *, backend: str = "auto", threads: int = 0, engines_root: Path = BUILT
) -> LoadedModel:
    """Check the files against their hashes and load them.

    A current engine under ``engines_root`` (made by build_engines.py) is preferred to the shipped graph.
    Raises SpecError, CheckpointError or RuntimeMissingError with one line that says what to do.
    """
    run = _runtime(backend)
    folder = model_folder(name_or_folder)
    spec = load_spec(folder / SPEC_FILE)
    verify_files(folder, spec, (BACKBONE_FILE, HEAD_FILE))
    backbone, head = (_fastest(spec, folder / file, engines_root) for file in (BACKBONE_FILE, HEAD_FILE))
    return LoadedModel(spec, run(backbone, threads=threads), run(head, threads=1))


def _runtime(backend: str) -> type[OnnxRuntimeBackend]:
    known = {"auto": next(iter(BACKENDS.values())), **BACKENDS}
    if backend not in known:
        raise RuntimeMissingError(f"no backend {backend!r} on this machine: use one of {', '.join(known)}")
    return known[backend]


def _fastest(spec: ModelSpec, graph: Path, engines_root: Path) -> Path:
    return find_engine(engines_root, key_for(spec.name, graph, spec.files[graph.name])) or graph
