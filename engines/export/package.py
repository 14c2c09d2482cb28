"""A model's folder as shipped: checkpoint, two graphs, and the spec that names and hashes them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from engines.catalog import BACKBONE_FILE, HEAD_FILE, SPEC_FILE
from engines.checkpoints.own import TrainedModel, load_checkpoint, save_checkpoint
from engines.export.graph import backbone_graph, head_graph
from engines.models.efficientnet_lite import FEATURE_DIM, PIXEL_MEAN, PIXEL_STD
from engines.models.gru_head import WINDOW_SLOTS
from engines.spec import Calibration, ModelSpec, PixelSpec, WindowSpec
from engines.store import sha256_of

CHECKPOINT_FILE = "checkpoint.safetensors"


def neutral_spec(name: str, size: int) -> ModelSpec:
    """The promise of a model that nothing has been measured of yet; it names no files."""
    return ModelSpec(
        name=name,
        pixels=PixelSpec(size=size, mean=PIXEL_MEAN, std=PIXEL_STD),
        window=WindowSpec(slots=WINDOW_SLOTS, feature_dim=FEATURE_DIM),
        calibration=Calibration(temperature=1.0),
        frame_calibration=Calibration(temperature=1.0),
        files={},
    )


def write_package(folder: Path, spec: ModelSpec, model: TrainedModel) -> ModelSpec:
    """Write all four files beside ``folder`` and move them into its place at once; gives the spec with their hashes.

    The graphs hold the weights as the checkpoint stores them. Whoever opens the folder meanwhile finds the old files
    or the new, never a mixture; between two renames it may find none.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        spec = _write_files(fresh, spec, model)
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return spec


def write_spec(folder: Path, spec: ModelSpec) -> None:
    """Replace ``spec.json``, whole."""
    partial = folder / f".{SPEC_FILE}"
    partial.write_text(json.dumps(spec.model_dump(mode="json"), indent=2) + "\n")
    partial.replace(folder / SPEC_FILE)


def _write_files(folder: Path, spec: ModelSpec, model: TrainedModel) -> ModelSpec:
    folder.chmod(0o755)  # mkdtemp's are private
    save_checkpoint(folder / CHECKPOINT_FILE, model)
    stored = load_checkpoint(folder / CHECKPOINT_FILE)
    (folder / BACKBONE_FILE).write_bytes(backbone_graph(stored.backbone, spec.pixels.size))
    (folder / HEAD_FILE).write_bytes(head_graph(stored.head, spec.window.slots))
    hashes = {file: sha256_of(folder / file) for file in (CHECKPOINT_FILE, BACKBONE_FILE, HEAD_FILE)}
    spec = spec.model_copy(update={"files": hashes})
    write_spec(folder, spec)
    return spec


def _swap(fresh: Path, folder: Path) -> None:
    """Put ``fresh`` in the place of ``folder``."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = folder.with_name(f"{fresh.name}-old")
    folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old)
