"""A training recipe: every choice that shapes the weights, read from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.catalog import CATALOG, CatalogRow
from engines.spec import PixelSpec
from engines.training.errors import TrainingError

OptimiserKind = Literal["adamw", "adam", "sgd"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(_Value):
    """What a batch holds."""

    balance: Literal["pairs", "shuffled"] = "pairs"
    """``pairs``: each real beside a fake of its source; ``shuffled``: pictures as the set has them, in random order."""
    pairs: int = Field(default=24, gt=0)
    """Half of a batch's pictures."""
    self_blended: float = Field(default=0.35, ge=0, le=1)
    """Fraction of the fakes that are made from their real by self-blending."""
    swapped: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the fakes that are their real with another real's face; self-blended where nobody's fits."""
    landmark_masks: float = Field(default=0.0, ge=0, le=1)
    """Of the self-blended fakes, the fraction blended through a mask that follows the face's landmarks."""
    own_fake: float = Field(default=0.8, ge=0, le=1)
    """Of the other fakes, the fraction drawn from the real's own; the rest are anybody's."""

    @property
    def pictures(self) -> int:
        """A batch."""
        return 2 * self.pairs

    @property
    def needs_landmarks(self) -> bool:
        return self.swapped > 0 or self.landmark_masks > 0

    @model_validator(mode="after")
    def _made_fakes_are_at_most_all(self) -> Sampling:
        if self.self_blended + self.swapped > 1:
            raise ValueError("self_blended and swapped are more than 1 together")
        if self.balance == "shuffled" and self.self_blended + self.swapped > 0:
            raise ValueError("shuffled batches hold the set's own fakes only: set self_blended and swapped to 0")
        return self


class Optimiser(_Value):
    """How the weights follow their gradients."""

    kind: OptimiserKind = "adamw"
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    """``one-cycle``: up and down again (Smith & Topin 2018); ``cosine``: a linear rise, then half a cosine to 0."""
    learning_rate: float = Field(default=8e-4, gt=0)
    """At its highest."""
    warmup: float = Field(default=0.12, ge=0, lt=1)
    """Fraction of the steps before the highest rate; a constant one has none."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of ``sgd``."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Of weights with two and more dimensions."""
    clip_norm: float | None = Field(default=5.0, gt=0)
    """Longest gradient; null leaves it as it is."""
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    """Of the average of the weights, which is what is kept; 0 keeps the newest weights."""
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_cycle_rises(self) -> Optimiser:
        if self.schedule == "one-cycle" and not self.warmup:
            raise ValueError("one-cycle rises first: give warmup more than 0")
        return self


class Validation(_Value):
    """Rounds on pictures of the val split while the weights are fitted."""

    every: int = Field(default=0, ge=0)
    """Steps between two rounds; 0 holds none."""
    pictures: int = Field(default=1000, gt=1)
    """At most so many, the same in each round."""
    patience: int | None = Field(default=None, gt=0)
    """Rounds without a better AUC after which the fit ends; null goes on."""
    keep: Literal["last", "best"] = "last"
    """Which average is kept: the newest, or that of the round with the highest AUC."""

    @model_validator(mode="after")
    def _what_is_judged_is_measured(self) -> Validation:
        if not self.every and (self.patience is not None or self.keep == "best"):
            raise ValueError("patience and keep: best need rounds: set every")
        return self


class BackboneRecipe(_Value):
    """The still-picture fit."""

    size: int = Field(default=144, ge=32)
    """Side of the network's input in pixels."""
    draws: int = Field(default=110_000, ge=0)
    """Pictures seen in all; 0 fits nothing and takes the start as it is."""
    trainable: str = Field(default="all", pattern=r"^(all|head|last:[1-9]\d*)$")
    """``all``, the frame ``head`` alone, or with it the ``last:N`` blocks; the rest keeps its norms' statistics too."""
    framing: Literal["random", "whole"] = "random"
    """``whole`` shows every picture as it is, ``random`` a part of it, perhaps turned or mirrored."""
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
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Before the frame head; null keeps the network's own."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Of the arithmetic; weights are float32 in both."""
    accumulate: int = Field(default=1, gt=0)
    """Parts in which a batch goes through the network, to need less memory; the update is the whole batch's."""
    threads: int = Field(default=2, gt=0)
    """Of the fit, on a CPU."""
    workers: int = Field(default=1, gt=0)
    """Processes that make batches; how many there are changes no batch."""
    checkpoint_every: int = Field(default=300, gt=0)
    """Steps between two checkpoints."""
    sampling: Sampling = Sampling()
    optimiser: Optimiser = Optimiser()
    validation: Validation = Validation()

    @property
    def steps(self) -> int:
        return self.draws // self.sampling.pictures

    @model_validator(mode="after")
    def _a_part_holds_a_picture(self) -> BackboneRecipe:
        if self.accumulate > self.sampling.pictures:
            raise ValueError("accumulate is more than a batch has pictures")
        return self


class HeadRecipe(_Value):
    """The window fit, on pseudo-clips and, where there are some, on tracks of real videos."""

    tracks: Path | None = None
    """Folder of ``unmask extract``: its windows of the train split join the pseudo-clips, those of val are measured."""
    period_s: float = Field(default=0.2, gt=0)
    """Seconds between two slots of a window, live too."""
    train_clips: int = Field(default=2400, ge=0)
    val_clips: int = Field(default=1600, gt=1)
    rendered: int = Field(default=8, gt=0, le=20)
    """Slots rendered of each clip."""
    directions: int = Field(default=2, ge=0)
    """Directions of feature space that the head is fitted on; 0: all features as they are, from random weights."""
    kind: OptimiserKind = "adamw"
    schedule: Literal["cosine", "constant"] = "cosine"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of ``sgd``."""
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

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The model's name, and its folder's."""
    model: str = ""
    """The catalog row that it is one of; without it, the row of its name."""
    seed: int = Field(default=0, ge=0)
    size: int | None = Field(default=None, ge=32)
    """Side of the shipped network's input, the row's own without it: a little more than it was trained at serves well
    where any will do (Touvron et al. 2019)."""
    start: str = "imagenet"
    """Weights that the first fit begins with: ``imagenet``, ``random``, a file of another's weights, or a catalog name
    or model folder to go on from."""
    backbone: BackboneRecipe = BackboneRecipe()
    refine: BackboneRecipe | None = None
    """A second fit from the first one's average, such as a shorter one at a larger size."""
    start_share: float = Field(default=0.0, ge=0, lt=1)
    """Of the weights that the first fit began with in what ships: what they knew of other pictures is not lost."""
    still_mirror: bool = False
    """Whether single stills are to be scored together with their mirror image."""
    refined_share: float = Field(default=1.0, ge=0, le=1)
    """Of the refined weights in what ships, the rest being the first fit's (Wortsman et al. 2022)."""
    head: HeadRecipe = HeadRecipe()

    @property
    def row(self) -> CatalogRow:
        """What it is a model of."""
        return CATALOG[self.model or self.name]

    @property
    def pixels(self) -> PixelSpec:
        """Of the shipped network's input."""
        return self.row.pixels.model_copy(update={} if self.size is None else {"size": self.size})

    @model_validator(mode="after")
    def _the_row_can_be_trained(self) -> Recipe:
        name = self.model or self.name
        rows = [row.name for row in CATALOG.values() if row.network is not None and row.head is not None]
        if name not in rows:
            raise ValueError(f"model: {name!r} cannot be trained: use one of {', '.join(rows)}")
        return self


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
        message = first["msg"].removeprefix("Value error, ")
        raise TrainingError(f"{path}: {where + ': ' if where else ''}{message}: mend the recipe") from None
