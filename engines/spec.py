"""What a model promises: the one home of its sizes, normalisation, geometry, time base and calibration."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import CheckpointError, SpecError


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Calibration(_Value):
    """Platt scaling of a logit: ``p = sigmoid((logit + bias) / temperature)`` (Platt 1999; Guo et al. 2017)."""

    temperature: float = Field(gt=0)
    bias: float = 0.0


class PixelSpec(_Value):
    """How a face crop becomes network input."""

    size: int = Field(gt=0)
    """Side of the square input, in pixels."""
    colour: Literal["rgb", "bgr"] = "rgb"
    """Colour order the network was trained with."""
    mean: tuple[float, float, float]
    """Subtracted per channel, on the 0-255 scale, in ``colour`` order."""
    std: tuple[float, float, float]
    """Divided by per channel, on the 0-255 scale, in ``colour`` order."""
    crop_margin: float = Field(default=1.0, gt=0)
    """Live crop side as a multiple of the training crop's side (1.0: the very same framing)."""


class WindowSpec(_Value):
    """The rolling window the temporal head sees."""

    slots: int = Field(default=20, gt=0)
    """Slots in a window, T."""
    period_s: float = Field(default=0.2, gt=0)
    """Seconds between two slots."""
    min_samples: int = Field(default=5, gt=0)
    """Filled slots before a first score; fewer is ``warming up``."""
    feature_dim: int = Field(gt=0)
    """Length of one feature vector, F."""


class VerdictLimits(_Value):
    """Calibrated probabilities at which a verdict changes; between them a face is ``unsure``."""

    fake_at: float = Field(default=0.65, ge=0, le=1)
    real_at: float = Field(default=0.35, ge=0, le=1)


class ModelSpec(_Value):
    """Everything a runtime or the live path must know of a model, read from ``spec.json`` beside its weights."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Catalog name, such as ``lite0-gru``; folders are named after it, so it may name no other."""
    pixels: PixelSpec
    window: WindowSpec
    positive_class: Literal["fake", "real"] = "fake"
    """What a high raw logit means; everything past the scorer is 1 = fake."""
    still_mirror: bool = False
    """Whether a single still is scored as the mean of its crop and the crop's mirror image; windows never are."""
    aggregation: Literal["gru", "mean_logit"] | None = "gru"
    """How a window becomes one logit: a trained head, or the mean of its frames' logits; None for features alone."""
    calibration: Calibration
    """Of the head's logit."""
    frame_calibration: Calibration | None = None
    """Of the backbone's single-frame logit, at its val split's own share of fakes; None where it has none."""
    verdict: VerdictLimits = VerdictLimits()
    files: dict[str, str]
    """File name -> SHA-256 in hex, of every file beside the spec."""
    measured: dict[str, float] = {}
    """Numbers measured on this checkpoint, such as ``val_frame_auc``; what is not there was not measured."""


def load_spec(path: Path) -> ModelSpec:
    """Read and check ``spec.json``. Raises SpecError with one line that says what to do."""
    try:
        return ModelSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise SpecError(f"no model spec at {path}: give the folder of a model that holds a spec.json") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise SpecError(f"bad model spec {path}: {where}: {first['msg']}; restore or re-export it") from None


def verify_files(folder: Path, spec: ModelSpec, names: tuple[str, ...]) -> None:
    """Compare the SHA-256 of the named files with the spec. Raises CheckpointError."""
    for name in names:
        verify_file(folder / name, spec.files.get(name))


def verify_file(path: Path, sha256: str | None) -> None:
    """Raise CheckpointError unless ``path`` has this SHA-256."""
    if sha256 is None:
        raise CheckpointError(f"{path.name} is not listed in its spec.json: export the model again")
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}: restore the file (git checkout) or export the model again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise CheckpointError(f"{path} is truncated or was changed (SHA-256 differs): restore it or export it again")
