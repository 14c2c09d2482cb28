"""Optimisers and schedules by the names that recipes use."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from engines.training.recipe import Optimiser, OptimiserKind


def optimiser_of(
    kind: OptimiserKind, parameters: Iterable[Any], rate: float, *, weight_decay: float, momentum: float
) -> torch.optim.Optimizer:
    """A fresh one over parameters or groups of them. Weight decay is decoupled in ``adamw`` only."""
    if kind == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=momentum, weight_decay=weight_decay)
    make = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return make(parameters, rate, weight_decay=weight_decay)


def fit_optimiser(model: nn.Module, recipe: Optimiser) -> torch.optim.Optimizer:
    """Over what is not frozen. Weights decay; biases and norms do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return optimiser_of(recipe.kind, groups, recipe.learning_rate, weight_decay=0.0, momentum=recipe.momentum)


def fit_schedule(optimiser: torch.optim.Optimizer, recipe: Optimiser, steps: int) -> LRScheduler:
    """The rate of each step. Adam's momentum cycles with one-cycle's rate, SGD's stays."""
    if recipe.schedule == "one-cycle":
        cycles = recipe.kind != "sgd"
        return OneCycleLR(
            optimiser, recipe.learning_rate, total_steps=steps, pct_start=recipe.warmup, cycle_momentum=cycles
        )
    if recipe.schedule == "constant":
        return LambdaLR(optimiser, lambda _: 1.0)
    rise = round(recipe.warmup * steps)
    return LambdaLR(optimiser, lambda step: cosine(step, rise, steps))


def cosine(step: int, rise: int, steps: int) -> float:
    """1 after ``rise`` steps of climbing, 0 after ``steps`` (Loshchilov & Hutter 2017)."""
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise)))) / 2
