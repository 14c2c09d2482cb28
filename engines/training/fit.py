"""The still-picture fit of the backbone: AdamW under one cycle, weight average, bf16, exact resume."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.checkpoints.pickled import UNREADABLE, read_pickled
from engines.models.efficientnet_lite import PIXEL_MEAN, PIXEL_STD, FrameClassifier
from engines.training.depthwise import with_fast_depthwise
from engines.training.errors import TrainingError
from engines.training.loader import Batch
from engines.training.localise import LocalisingClassifier, localisation_loss
from engines.training.memory import keep_freed_memory
from engines.training.recipe import BackboneRecipe, Optimiser

Report = Callable[[str], None]
_LOSS_MEMORY = 0.98


@dataclass(repr=False)
class FitState:
    """Everything that a step reads and writes; ``step`` is the next one to take."""

    model: LocalisingClassifier
    average: FrameClassifier
    """Exponential moving average of the weights: what is kept in the end."""
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    step: int = 0


def start_state(model: FrameClassifier, recipe: BackboneRecipe) -> FitState:
    """A fresh run from the given weights."""
    average = FrameClassifier()
    average.load_state_dict(model.state_dict())
    fitted = LocalisingClassifier(model)
    fitted.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    with_fast_depthwise(fitted)
    optimiser = _adamw(fitted, recipe.optimiser)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.optimiser.learning_rate, total_steps=recipe.steps, pct_start=recipe.optimiser.warmup
    )
    return FitState(fitted, average, optimiser, schedule)


def save_state(path: Path, state: FitState) -> None:
    """Write all of it, the random generator too; the file is replaced only once it is whole."""
    parts = {
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "schedule": state.schedule.state_dict(),
        "step": state.step,
        "rng": torch.get_rng_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(parts, partial)
    partial.replace(path)


def load_state(path: Path, state: FitState) -> None:
    """Fill ``state`` from a file that ``save_state`` wrote. Raises TrainingError when it does not fit."""
    try:
        parts = read_pickled(path)
        state.model.load_state_dict(parts["model"])
        state.average.load_state_dict(parts["average"])
        state.optimiser.load_state_dict(parts["optimiser"])
        state.schedule.load_state_dict(parts["schedule"])
        state.step = int(parts["step"])
        torch.set_rng_state(parts["rng"])
    except UNREADABLE as error:
        raise TrainingError(f"cannot resume from {path} ({type(error).__name__}): start without --resume") from error


def take_step(state: FitState, batch: Batch, recipe: BackboneRecipe) -> float:
    """Forward, backward, update, average. Gives the loss on whether, without that on where."""
    state.model.train()
    optimiser = recipe.optimiser
    with torch.autocast("cpu", torch.bfloat16):
        logits, where = state.model(network_input(batch.rgb))
    whether = smoothed_loss(logits.float(), torch.from_numpy(batch.labels), optimiser.label_smoothing)
    loss = whether + recipe.localisation * localisation_loss(where.float(), torch.from_numpy(batch.changed))
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    nn.utils.clip_grad_norm_(state.model.parameters(), optimiser.clip_norm)
    state.optimiser.step()
    state.schedule.step()
    update_average(state.average, state.model.classifier, ramped_decay(optimiser.ema_decay, state.step))
    state.step += 1
    return float(whether.detach())


def network_input(rgb: NDArray[np.uint8]) -> Tensor:
    """(N, S, S, 3) RGB bytes to (N, 3, S, S) float32, channels last in memory."""
    mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    normalised = (torch.from_numpy(rgb).float() - mean) / std
    return normalised.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def smoothed_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Binary cross entropy against labels drawn towards 0.5 by ``smoothing``; (N,) each."""
    return nn.functional.binary_cross_entropy_with_logits(logits, labels * (1 - smoothing) + smoothing / 2)


def ramped_decay(decay: float, step: int) -> float:
    """Short memory at the start, so that the average forgets where it began."""
    return min(decay, (step + 1) / (step + 10))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """``average`` moves by (1 - decay) towards ``model``, running statistics included; counters are copied."""
    current = model.state_dict()
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[key], 1 - decay)
        else:
            value.copy_(current[key])


@dataclass
class Progress:
    """Says where a run stands, and appends each report to a CSV file with its time."""

    log: Path
    total: int
    pictures_a_step: int
    say: Report = print
    every: int = 25
    _began: float = field(default_factory=time.monotonic)
    _first: int = -1
    _loss: float = 0.0

    def note(self, step: int, loss: float, learning_rate: float) -> None:
        """``step`` steps are done, the last with ``loss``."""
        if self._first < 0:
            self._first, self._loss = step - 1, loss
        self._loss = _LOSS_MEMORY * self._loss + (1 - _LOSS_MEMORY) * loss
        if step % self.every == 0 or step == self.total:
            self._report(step, learning_rate)

    def _report(self, step: int, learning_rate: float) -> None:
        per_second = (step - self._first) / max(time.monotonic() - self._began, 1e-9)
        rate, left_s = per_second * self.pictures_a_step, (self.total - step) / per_second
        self.say(f"{step}/{self.total}  loss {self._loss:.4f}  {rate:.0f} pictures/s  {left_s / 60:.0f} min left")
        is_new = not self.log.exists()
        with self.log.open("a", newline="") as file:
            rows = csv.writer(file)
            if is_new:
                rows.writerow(["unix_s", "step", "loss", "learning_rate", "pictures_per_s"])
            rows.writerow([f"{time.time():.0f}", step, f"{self._loss:.5f}", f"{learning_rate:.3e}", f"{rate:.1f}"])


def run_fit(
    state: FitState, source: Iterable[Batch], recipe: BackboneRecipe, checkpoint: Path, progress: Progress
) -> None:
    """Take a step for each batch; checkpoint now and then, and at the end."""
    keep_freed_memory()
    for batch in source:
        loss = take_step(state, batch, recipe)
        progress.note(state.step, loss, float(state.schedule.get_last_lr()[0]))
        if state.step % recipe.checkpoint_every == 0 or state.step == recipe.steps:
            save_state(checkpoint, state)


def _adamw(model: nn.Module, recipe: Optimiser) -> torch.optim.AdamW:
    """Weights decay; biases and norms do not."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)
