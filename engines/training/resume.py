"""Everything that a fit needs to go on after a kill as if there had been none, and its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from engines.checkpoints.pickled import UNREADABLE, read_pickled
from engines.models.backbone import Backbone
from engines.training.errors import TrainingError
from engines.training.judge import Best
from engines.training.localise import LocalisingClassifier
from engines.whole_file import replacing


@dataclass(repr=False)
class FitState:
    """Everything that a step reads and writes; ``step`` is the next one to take."""

    model: LocalisingClassifier
    average: Backbone
    """Exponential moving average of the weights: what is kept in the end."""
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    frozen: tuple[nn.Module, ...] = ()
    """Layers that are not trained."""
    step: int = 0
    best: Best = field(default_factory=Best)

    @property
    def is_on_gpu(self) -> bool:
        return next(self.model.parameters()).is_cuda


def save_state(path: Path, state: FitState) -> None:
    """Write all of it, the random generators too; the file is replaced only once it is whole."""
    parts = {
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "schedule": state.schedule.state_dict(),
        "step": state.step,
        "best": vars(state.best),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if state.is_on_gpu else None,
    }
    with replacing(path) as file:
        torch.save(parts, file)


def load_state(path: Path, state: FitState) -> None:
    """Fill ``state`` from a file that ``save_state`` wrote. Raises TrainingError when it does not fit.

    On another kind of device the run goes on too, but not with the very numbers it would have had.
    """
    try:
        parts = read_pickled(path)
        state.model.load_state_dict(parts["model"])
        state.average.load_state_dict(parts["average"])
        state.optimiser.load_state_dict(parts["optimiser"])
        state.schedule.load_state_dict(parts["schedule"])
        state.step = int(parts["step"])
        state.best = Best(**parts["best"])
        torch.set_rng_state(parts["rng"])
        if state.is_on_gpu and parts["cuda_rng"] is not None:
            torch.cuda.set_rng_state(parts["cuda_rng"])
    except (*UNREADABLE, TypeError) as error:
        raise TrainingError(f"cannot resume from {path} ({type(error).__name__}): start without --resume") from error
