"""A model's folder as shipped: checkpoint, its graphs, and the spec that names and hashes them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from engines.catalog import BACKBONE_FILE, CATALOG, CHECKPOINT_FILE, DEFAULT_MODEL, HEAD_FILE, SPEC_FILE
from engines.checkpoints.own import TrainedModel, load_checkpoint, save_checkpoint
from engines.errors import SpecError
from engines.export.graph import backbone_graph, head_graph
from engines.models.gru_head import WINDOW_SLOTS, GruHead
from engines.spec import Calibration, ModelSpec, WindowSpec, load_spec
from engines.store import sha256_of
from engines.whole_file import write_whole

NEUTRAL = Calibration(temperature=1.0)


def neutral_spec(name: str, size: int | None = None, *, of: str | None = None) -> ModelSpec:
    """The promise of a model that nothing has been measured of yet; it names no files.

    ``of`` is the catalog row it is one of; without it, ``name``'s own row or else the default's. ``size`` in pixels
    stands in for the row's.
    """
    row = CATALOG[of or (name if name in CATALOG else DEFAULT_MODEL)]
    return ModelSpec(
        name=name,
        pixels=row.pixels.model_copy(update={} if size is None else {"size": size}),
        window=WindowSpec(slots=WINDOW_SLOTS, feature_dim=row.feature_dim),
        positive_class=row.positive_class,
        aggregation=row.head,
        calibration=NEUTRAL,
        frame_calibration=NEUTRAL if row.frame_head else None,
        files={},
    )


def write_package(folder: Path, spec: ModelSpec, model: TrainedModel, *, half: bool = True) -> ModelSpec:
    """Write all files beside ``folder`` and move them into its place at once; gives the spec with their hashes.

    The graphs hold the weights as the checkpoint stores them: the large ones as float16, or exactly without ``half``.
    Whoever opens the folder meanwhile finds the old files or the new, never a mixture; between two renames it may find
    none. Raises SpecError when the spec is of another model.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        spec = _write_files(fresh, spec, model, half)
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return spec


def exported_folder(checkpoint: Path, parent: Path) -> Path:
    """A whole model folder under ``parent``, made of a checkpoint and the spec beside it. Raises EngineError."""
    spec = load_spec(checkpoint.parent / SPEC_FILE)
    write_package(parent / spec.name, spec, load_checkpoint(checkpoint))
    return parent / spec.name


def write_spec(folder: Path, spec: ModelSpec) -> None:
    """Replace ``spec.json``, whole."""
    write_whole(folder / SPEC_FILE, json.dumps(spec.model_dump(mode="json"), indent=2).encode() + b"\n")


def _write_files(folder: Path, spec: ModelSpec, model: TrainedModel, half: bool) -> ModelSpec:
    _refuse_misfit(spec, model)
    folder.chmod(0o755)  # mkdtemp's are private
    save_checkpoint(folder / CHECKPOINT_FILE, model, half=half)
    stored = load_checkpoint(folder / CHECKPOINT_FILE)
    if stored.backbone is not None:
        (folder / BACKBONE_FILE).write_bytes(backbone_graph(stored.backbone, spec.pixels.size, half=half))
    if stored.head is not None:
        (folder / HEAD_FILE).write_bytes(head_graph(stored.head, spec.window.slots, half=half))
    hashes = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    spec = spec.model_copy(update={"files": hashes, **_shape_of(spec, model)})
    write_spec(folder, spec)
    return spec


def _shape_of(spec: ModelSpec, model: TrainedModel) -> dict[str, Any]:
    """What the networks themselves decide of a spec."""
    says_frames = model.backbone is not None and model.backbone.frame_head is not None
    trained = "gru" if isinstance(model.head, GruHead) else "mean_logit"
    return {
        "aggregation": None if model.head is None else trained,
        "frame_calibration": (spec.frame_calibration or NEUTRAL) if says_frames else None,
    }


def _refuse_misfit(spec: ModelSpec, model: TrainedModel) -> None:
    """Raise SpecError when features or input are of another size than the networks take."""
    found = {part.feature_dim for part in (model.backbone, model.head) if part is not None}
    if found != {spec.window.feature_dim}:
        raise SpecError(f"{spec.name}: networks with {found} features, not {spec.window.feature_dim}: mend the spec")
    fixed = None if model.backbone is None else model.backbone.fixed_size
    if fixed not in (None, spec.pixels.size):
        raise SpecError(f"{spec.name} takes {fixed} px, not {spec.pixels.size}: mend the spec")


def _swap(fresh: Path, folder: Path) -> None:
    """Put ``fresh`` in the place of ``folder``."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = folder.with_name(f"{fresh.name}-old")
    folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old)
