"""Anybody's weights to a model folder of this project: read, recognised, checked, and only then written, whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.catalog import CATALOG, CatalogRow
from engines.checkpoints.own import TrainedModel
from engines.checkpoints.parts import Part, backbone_of, head_of, read_part
from engines.errors import CheckpointError
from engines.export.package import neutral_spec, write_package
from engines.model_store import SPEC_FILE, own_folder
from engines.models.as_keras import keras_parameter_count
from engines.models.backbone import Backbone
from engines.models.gru_head import GruHead, mean_logit_head
from engines.spec import ModelSpec

Class = Literal["fake", "real"]
IMPORTABLE = tuple(name for name, row in CATALOG.items() if row.network != "lite0")


@dataclass(frozen=True)
class Imported:
    """What became of a file."""

    spec: ModelSpec
    folder: Path
    recognised: tuple[str, ...]
    """A line per file that was read."""
    parameters: int
    """As Keras counts."""
    advice: str
    """How to use it."""

    @property
    def facts(self) -> dict[str, str]:
        """What the spec now says of input and answer, in words, for its owner to check."""
        pixels, window = self.spec.pixels, self.spec.window
        scale = f"(x - {_plain(pixels.mean)}) / {_plain(pixels.std)}"
        facts = {"input": f"{pixels.size} px, {pixels.colour.upper()}, {scale}, crop {pixels.crop_margin:g}"}
        if self.spec.aggregation == "gru":
            facts["window"] = f"{window.slots} samples, one each {window.period_s:.3g} s"
        if self.spec.aggregation is not None:
            facts["answer"] = f"a high score means {self.spec.positive_class}; not calibrated, nothing measured"
        return facts


def import_model(
    path: Path, name: str, *, backbone: Path | None = None, out: Path | None = None, positive: Class | None = None
) -> Imported:
    """Turn a Keras or PyTorch file into the folder of the catalog row ``name``.

    ``backbone`` is the image network's file where ``path`` is a temporal head alone; ``out`` stands in for the user's
    own store; ``positive`` says what a high score means where the origin's own meaning is wrong for this file.
    Raises CheckpointError with one line, and then nothing is written.
    """
    row = _row(name, backbone)
    folder = _free(own_folder(name) if out is None else out.expanduser().resolve())
    parts = [read_part(path)] + ([] if backbone is None else [read_part(backbone)])
    model = _model(row, parts)
    try:
        spec = write_package(folder, _spec(row, model, parts, positive), model, half=False)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {folder} ({error.strerror or error}): free some space or use --out"
        ) from None
    return _told(row, spec, folder, parts, model, in_store=out is None)


def _row(name: str, backbone: Path | None) -> CatalogRow:
    if name not in IMPORTABLE:
        raise CheckpointError(f"cannot import as {name!r}: use one of {', '.join(IMPORTABLE)}")
    row = CATALOG[name]
    if row.kind == "video" and backbone is None:
        raise CheckpointError(f"{name} is a head with a backbone: give the head's FILE and --backbone FILE2")
    if row.kind != "video" and backbone is not None:
        raise CheckpointError(f"{name} is one file: leave --backbone out")
    return row


def _free(folder: Path) -> Path:
    """A folder that is new, empty, or a model's. Raises CheckpointError for anything else: it would be replaced."""
    is_model = (folder / SPEC_FILE).is_file()
    if folder.exists() and not is_model and not (folder.is_dir() and not any(folder.iterdir())):
        raise CheckpointError(f"{folder} is there and no model: give --out a new folder")
    return folder


def _model(row: CatalogRow, parts: list[Part]) -> TrainedModel:
    """The networks of the row, filled. Raises CheckpointError when a file holds another."""
    if row.kind == "head":
        return TrainedModel(None, head_of(_expected(parts[0], row.name)))
    if row.kind == "video":
        head = head_of(parts[0])
        backbone = backbone_of(_expected(parts[1], row.network), frame_head=row.frame_head)
        return TrainedModel(backbone, _fitting(head, backbone, parts))
    backbone = backbone_of(_expected(parts[0], row.network), frame_head=row.frame_head)
    if row.kind == "features" or backbone.frame_head is None:
        return TrainedModel(backbone, None)
    return TrainedModel(backbone, mean_logit_head(backbone.frame_head).eval())


def _expected(part: Part, network: str | None) -> Part:
    if part.network != network:
        raise CheckpointError(f"{part.path} holds {part.network} ({part.origin.title}), which is no {network}")
    return part


def _fitting(head: GruHead, backbone: Backbone, parts: list[Part]) -> GruHead:
    if head.feature_dim != backbone.feature_dim:
        raise CheckpointError(
            f"{parts[0].path} reads {head.feature_dim} features, and {parts[1].path} gives {backbone.feature_dim}"
        )
    return head


def _spec(row: CatalogRow, model: TrainedModel, parts: list[Part], positive: Class | None) -> ModelSpec:
    """What the origin says of input and answer; nothing was measured, so calibrations are neutral."""
    first, pixels = parts[0], parts[-1].origin.pixels
    usual = neutral_spec(row.name)
    width = model.head.feature_dim if model.head is not None else row.feature_dim
    window: dict[str, float] = {"feature_dim": width, "slots": first.slots or usual.window.slots}
    window |= {} if first.origin.period_s is None else {"period_s": first.origin.period_s}
    return usual.model_copy(
        update={
            "pixels": pixels,
            "window": usual.window.model_copy(update=window),
            "positive_class": positive or first.origin.positive_class,
        }
    )


def _told(
    row: CatalogRow, spec: ModelSpec, folder: Path, parts: list[Part], model: TrainedModel, *, in_store: bool
) -> Imported:
    found = tuple(f"{part.path.name}: {part.origin.title} ({part.network}, {part.style} style)" for part in parts)
    networks = [network for network in (model.backbone, model.head) if network is not None]
    counted = networks if isinstance(model.head, GruHead) else networks[:1]
    advice = f"unmask watch webcam --model {row.name if in_store else folder}"
    return Imported(
        spec, folder, found, keras_parameter_count(*counted), _part_advice(row) if row.use_instead else advice
    )


def _part_advice(row: CatalogRow) -> str:
    """A part alone can't score; its other half makes it one."""
    return f"a part cannot score by itself; with the other: unmask import HEAD --backbone FILE2 --as {row.use_instead}"


def _plain(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"[{', '.join(f'{value:.4g}' for value in values)}]"
