"""What scores faces: models, face detectors, runtimes and GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnxruntime as ort

from engines.catalog import CATALOG, DEFAULT_MODEL, SPEC_FILE, CatalogRow, graph_of, graphs_of, models_here
from engines.engine_choice import Graph, engines_here
from engines.errors import EngineError
from engines.model_store import own_models
from engines.spec import load_spec, verify_files
from engines.store import BUILT
from stream.doctor.finding import Finding, Status
from stream.doctor.gpu import gpu_names
from stream.errors import UnmaskError
from stream.faces.open import DETECTORS, network_named
from stream.faces.scrfd import PACKS

GROUP, GPU_GROUP = "Scoring", "GPU"
REMOTE = "AzureExecutionProvider"
"""Listed by every build; it sends its input away, and is never used."""


def examine() -> list[Finding]:
    gpus = gpu_names()
    return [
        *(finding for row, folder in _models() for finding in model_findings(row, folder, BUILT)),
        detector_finding("centerface"),
        pack_finding(PACKS.expanduser()),
        runtime_finding(ort.__version__, ort.get_available_providers()),
        gpu_finding(gpus),
        library_finding("TensorRT", "tensorrt", has_gpu=bool(gpus)),
        library_finding("PyCUDA", "pycuda", has_gpu=bool(gpus)),
    ]


def _models() -> list[tuple[CatalogRow, Path]]:
    """The models that have weights here, and the default one, which must have."""
    places = {name: place.folder for name, place in models_here().items()}
    return [
        (CATALOG[name], folder) for name, folder in ({DEFAULT_MODEL: CATALOG[DEFAULT_MODEL].folder} | places).items()
    ]


def model_findings(row: CatalogRow, folder: Path, engines_root: Path) -> list[Finding]:
    """A model in ``folder``, and whether it was optimised for this machine."""
    what = f"model {row.name}"
    try:
        spec = load_spec(folder / SPEC_FILE)
        graphs = graphs_of(spec)
        verify_files(folder, spec, graphs)
    except EngineError as error:
        return [Finding(GROUP, what, Status.MISSING, str(error).partition(": ")[0], _restore(row, folder))]
    wanted = [graph_of(spec, folder, name) for name in graphs]
    return [
        Finding(GROUP, what, Status.FOUND, f"{row.summary}; files match their hashes"),
        engine_finding(f"engines of {row.name}", wanted, engines_root),
    ]


def _restore(row: CatalogRow, folder: Path) -> str:
    """What brings a model back: shipped ones lie in the repository, a user's own do not."""
    if folder == own_models() / row.name:
        return f"unmask import FILE --as {row.name}  (or train it again, or remove {folder})"
    return f"git checkout -- {folder}"


def engine_finding(what: str, graphs: Iterable[Graph], engines_root: Path) -> Finding:
    """Which current engine each of ``graphs`` would run on."""
    found = [engines_here(graph, engines_root) for graph in graphs]
    if not all(found):
        return Finding(GROUP, what, Status.ABSENT, "not built: the shipped graphs are used", "make engines")
    chosen = [f"{engines[0][1].key.runtime} {engines[0][1].key.precision}" for engines in found]
    return Finding(GROUP, what, Status.FOUND, f"built for this machine: {', '.join(dict.fromkeys(chosen))}")


def detector_finding(name: str) -> Finding:
    """A face detector that brings its own weights; the default one is needed."""
    try:
        path = network_named(name).find_weights()
    except UnmaskError as error:
        said, _, mend = str(error).rpartition(": ")
        return Finding(GROUP, f"faces: {name}", Status.MISSING, said, mend)
    return Finding(GROUP, f"faces: {name}", Status.FOUND, f"{path.name} {DETECTORS[name].weights}")


def pack_finding(packs: Path) -> Finding:
    """InsightFace's model packs, for the scrfd detector. ``packs``: the folder that holds them."""
    found = sorted(path.name for path in packs.iterdir() if path.is_dir()) if packs.is_dir() else []
    if found:
        return Finding(GROUP, "faces: scrfd", Status.FOUND, f"model packs: {', '.join(found)}")
    mend = "unmask watch … --detector scrfd  (fetches one; or give a file: --detector-weights FILE.onnx)"
    return Finding(GROUP, "faces: scrfd", Status.ABSENT, "no InsightFace model pack on this machine", mend)


def runtime_finding(release: str, providers: Sequence[str]) -> Finding:
    """``providers``: what this build of ONNX Runtime could run on."""
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers if name != REMOTE)
    return Finding(GROUP, "ONNX Runtime", Status.FOUND, f"{release} with {names}; scores are computed on the CPU")


def gpu_finding(names: Sequence[str]) -> Finding:
    """``names``: of the NVIDIA GPUs."""
    if names:
        return Finding(GPU_GROUP, "NVIDIA GPU", Status.FOUND, ", ".join(names))
    return Finding(GPU_GROUP, "NVIDIA GPU", Status.ABSENT, "none, or no driver; not needed")


def library_finding(title: str, package: str, *, has_gpu: bool) -> Finding:
    """A library of the GPU extra; there is no use for it without a GPU."""
    try:
        return Finding(GPU_GROUP, title, Status.FOUND, version(package))
    except PackageNotFoundError:
        mend = ".venv/bin/pip install -e '.[gpu]'" if has_gpu else ""
        return Finding(GPU_GROUP, title, Status.ABSENT, "not installed; not needed", mend)
