"""A training recipe: every choice that shapes the weights, read from one YAML file."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.training.errors import TrainingError


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(_Value):
    """What a batch holds: as many fakes as reals, pair by pair of one source."""

    pairs: int = Field(default=24, gt=0)
    """Real and fake faces a batch: twice this many pictures."""
    self_blended: float = Field(default=0.35, ge=0, le=1)
    """Fraction of the fakes that are made from their real by self-blending."""
    swapped: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the fakes that are their real with another real's face; self-blended where nobody's fits."""
    landmark_masks: float = Field(default=0.0, ge=0, le=1)
    """Of the self-blended fakes, the fraction blended through a mask that follows the face's landmarks."""
    own_fake: float = Field(default=0.8, ge=0, le=1)
    """Of the other fakes, the fraction drawn from the real's own; the rest are anybody's."""

    @property
    def needs_landmarks(self) -> bool:
        return self.swapped > 0 or self.landmark_masks > 0

    @model_validator(mode="after")
    def _made_fakes_are_at_most_all(self) -> Sampling:
        if self.self_blended + self.swapped > 1:
            raise ValueError("self_blended and swapped are more than 1 together")
        return self


class Optimiser(_Value):
    """AdamW under one cycle."""

    learning_rate: float = Field(default=8e-4, gt=0)
    """At the cycle's peak."""
    warmup: float = Field(default=0.12, gt=0, lt=1)
    """Fraction of the steps before the peak."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Of weights with two and more dimensions."""
    clip_norm: float = Field(default=5.0, gt=0)
    ema_decay: float = Field(default=0.998, gt=0, lt=1)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)


class BackboneRecipe(_Value):
    """The still-picture fit."""

    size: int = Field(default=144, ge=32)
    """Side of the network's input in pixels."""
    draws: int = Field(default=110_000, gt=0)
    """Pictures seen in all."""
    degradation: float = Field(default=1.0, ge=0, le=1)
    """Scales how often a picture is degraded as by a stream; 0 never."""
    h264: float = Field(default=0.0, ge=0, le=1)
    """How often a picture is compressed by H.264 rather than JPEG."""
    exposure: float = Field(default=0.0, ge=0, le=1)
    """How often it is lighter or darker by up to one and a half stops."""
    colour: float = Field(default=0.0, ge=0, le=1)
    """How often its white balance and saturation are off."""
    localisation: float = Field(default=0.0, ge=0)
    """Weight of the loss on where a fake was changed, beside the loss on whether."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    threads: int = Field(default=2, gt=0)
    checkpoint_every: int = Field(default=300, gt=0)
    """Steps between two checkpoints."""
    sampling: Sampling = Sampling()
    optimiser: Optimiser = Optimiser()

    @property
    def steps(self) -> int:
        return self.draws // (2 * self.sampling.pairs)


class HeadRecipe(_Value):
    """The window fit, on pseudo-clips."""

    train_clips: int = Field(default=2400, gt=1)
    val_clips: int = Field(default=1600, gt=1)
    rendered: int = Field(default=8, gt=0, le=20)
    """Slots rendered of each clip."""
    directions: int = Field(default=2, gt=0)
    """Directions of feature space that the head is fitted on."""
    epochs: int = Field(default=15, gt=0)
    batch: int = Field(default=128, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    self_blended: float = Field(default=0.35, ge=0, le=1)
    h264: float = Field(default=0.0, ge=0, le=1)
    """How often a clip is compressed by H.264 rather than picture by picture."""


class Recipe(_Value):
    """All of it."""

    name: str
    """The model's catalog name."""
    seed: int = 0
    size: int = Field(default=192, ge=32)
    """Side of the shipped network's input: a little more than it was trained at (Touvron et al. 2019)."""
    start: str = "imagenet"
    """Weights that the first fit begins with: ``imagenet``, or a catalog name or model folder to go on from."""
    backbone: BackboneRecipe = BackboneRecipe()
    refine: BackboneRecipe | None = None
    """A second fit from the first one's average, such as a shorter one at a larger size."""
    refined_share: float = Field(default=1.0, ge=0, le=1)
    """Of the refined weights in what ships, the rest being the first fit's (Wortsman et al. 2022)."""
    head: HeadRecipe = HeadRecipe()


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises TrainingError with one line that names the key at fault."""
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text()) or {})
    except OSError:
        raise TrainingError(f"cannot read the recipe {path}: give a file of configs/training") from None
    except yaml.YAMLError as error:
        raise TrainingError(f"{path} is not YAML ({str(error).splitlines()[0]}): mend it") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TrainingError(f"{path}: {where}: {first['msg']}: mend the recipe") from None
