"""Rounds on the val split while a fit runs, and the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from engines.export.package import NEUTRAL
from engines.models.backbone import Backbone
from engines.postprocess import fake_probability
from engines.spec import ModelSpec
from engines.training.device import TorchBackend
from engines.training.errors import TrainingError
from engines.training.faces import FaceSet
from engines.training.metrics import log_loss, roc_auc
from engines.training.progress import Judgement
from engines.training.recipe import Validation
from engines.training.still_scores import frame_logits


@dataclass(frozen=True, repr=False)
class Judge:
    """The same pictures of the val split for each round."""

    stills: FaceSet
    spec: ModelSpec
    """Of the network as it is fitted: its size and scale."""
    device: torch.device

    def judge(self, network: Backbone) -> Judgement:
        """Its numbers on these pictures, in full precision."""
        logits = frame_logits(TorchBackend(network, self.device), self.spec, self.stills)
        labels, polarity = self.stills.labels, self.spec.positive_class
        probabilities = fake_probability(logits, self.spec.frame_calibration or NEUTRAL, polarity)
        return Judgement(roc_auc(labels, logits if polarity == "fake" else -logits), log_loss(labels, probabilities))


@dataclass(repr=False)
class Best:
    """The best round so far."""

    auc: float = -1.0
    rounds_since: int = 0
    weights: dict[str, Any] | None = None
    """Of the average then, where the recipe keeps the best."""

    def note(self, judgement: Judgement, average: Backbone, recipe: Validation) -> None:
        """A round is over."""
        if judgement.auc <= self.auc:
            self.rounds_since += 1
            return
        self.auc, self.rounds_since = judgement.auc, 0
        if recipe.keep == "best":
            self.weights = {name: value.detach().clone() for name, value in average.state_dict().items()}

    def is_final(self, recipe: Validation) -> bool:
        """Whether the fit has waited long enough for a better one."""
        return recipe.patience is not None and self.rounds_since >= recipe.patience


def judged_stills(faces: FaceSet, recipe: Validation, seed: int) -> FaceSet:
    """At random from the val split. Raises TrainingError when there is none."""
    rows = faces.rows("val")
    if not len(rows):
        raise TrainingError("validation needs a val split, and the set has none: set validation.every to 0")
    drawn = np.random.default_rng((seed, 8)).permutation(rows)[: recipe.pictures]
    return faces.subset(np.sort(drawn))
