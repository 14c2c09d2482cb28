"""The still-picture fit of a backbone: its step, its loop, and the average of its weights."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.models.backbone import Backbone
from engines.spec import PixelSpec
from engines.training.depthwise import with_fast_depthwise
from engines.training.device import on_device
from engines.training.judge import Judge
from engines.training.loader import Batch
from engines.training.localise import LocalisingClassifier, localisation_loss
from engines.training.memory import keep_freed_memory
from engines.training.optimisers import fit_optimiser, fit_schedule
from engines.training.progress import Progress
from engines.training.recipe import BackboneRecipe
from engines.training.resume import FitState, save_state
from engines.training.trainable import freeze


@dataclass(frozen=True)
class Task:
    """What a fit's steps are to do."""

    recipe: BackboneRecipe
    pixels: PixelSpec
    """How pictures become input; the recipe has the size."""
    positive_class: Literal["fake", "real"] = "fake"
    """What a high logit is to mean."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def has_fast_layers(self) -> bool:
        """The layers of ``depthwise.py`` are bfloat16's, and a CPU's remedy."""
        return self.device.type == "cpu" and self.recipe.precision == "bf16"


def start_state(model: Backbone, task: Task) -> FitState:
    """A fresh run from the given weights; ``model`` itself is trained."""
    recipe = task.recipe
    average = deepcopy(model).to(task.device).eval()
    frozen = freeze(model, recipe.trainable)
    fitted = LocalisingClassifier(model, localises=recipe.localisation > 0)
    fitted.to(device=task.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    if task.has_fast_layers:
        with_fast_depthwise(fitted)
    optimiser = fit_optimiser(fitted, recipe.optimiser)
    return FitState(fitted, average, optimiser, fit_schedule(optimiser, recipe.optimiser, recipe.steps), frozen)


def take_step(state: FitState, batch: Batch, task: Task) -> float:
    """Forward, backward, update, average. Gives the loss on whether, without that on where."""
    optimiser = task.recipe.optimiser
    _to_training(state)
    state.optimiser.zero_grad(set_to_none=True)
    told = torch.zeros((), device=task.device)
    for rows in np.array_split(np.arange(len(batch.labels)), task.recipe.accumulate):
        whether, loss = _losses(state.model, batch.rows(rows), task)
        share = len(rows) / len(batch.labels)
        (loss * share).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        told += whether.detach() * share
    if optimiser.clip_norm is not None:
        nn.utils.clip_grad_norm_(state.model.parameters(), optimiser.clip_norm)
    state.optimiser.step()
    state.schedule.step()
    update_average(state.average, state.model.classifier, ramped_decay(optimiser.ema_decay, state.step))
    state.step += 1
    return float(told)


def run_fit(
    state: FitState, source: Iterable[Batch], task: Task, checkpoint: Path, progress: Progress, judge: Judge | None
) -> None:
    """Take a step for each batch, with a round on the val split and a checkpoint now and then; one at the end."""
    recipe = task.recipe
    keep_freed_memory()
    if state.best.is_final(recipe.validation):
        return
    for batch in source:
        loss = take_step(state, batch, task)
        judgement = None
        if judge is not None and state.step % recipe.validation.every == 0:
            judgement = judge.judge(state.average)
            state.best.note(judgement, state.average, recipe.validation)
        progress.note(state.step, loss, float(state.schedule.get_last_lr()[0]), judgement)
        is_over = state.step == recipe.steps or state.best.is_final(recipe.validation)
        if is_over or state.step % recipe.checkpoint_every == 0:
            save_state(checkpoint, state)
        if is_over:
            return


def kept(state: FitState) -> Backbone:
    """The average that the fit ends with: the best round's where the recipe kept it."""
    if state.best.weights is not None:
        state.average.load_state_dict(state.best.weights)
    return state.average.cpu().eval()


def network_input(rgb: NDArray[np.uint8], pixels: PixelSpec, device: torch.device) -> Tensor:
    """(N, S, S, 3) RGB bytes to (N, 3, S, S) float32 as the spec says, channels last in memory."""
    pictures = on_device(rgb, device).float()
    if pixels.colour == "bgr":
        pictures = pictures.flip(-1)
    mean, std = (torch.tensor(values, device=device) for values in (pixels.mean, pixels.std))
    return ((pictures - mean) / std).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


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


def _to_training(state: FitState) -> None:
    state.model.train()
    for layer in state.frozen:
        layer.eval()


def _losses(model: LocalisingClassifier, batch: Batch, task: Task) -> tuple[Tensor, Tensor]:
    """On whether, and with that on where."""
    recipe, device = task.recipe, task.device
    labels = on_device(batch.labels if task.positive_class == "fake" else 1 - batch.labels, device)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        logits, where = model(network_input(batch.rgb, task.pixels, device))
    whether = smoothed_loss(logits.float(), labels, recipe.optimiser.label_smoothing)
    if where is None:
        return whether, whether
    return whether, whether + recipe.localisation * localisation_loss(where.float(), on_device(batch.changed, device))
