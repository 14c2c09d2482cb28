"""Optimisers, schedules and the part of a network that they may change."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import torch
from torch import nn

from engines.models.backbone import Backbone
from engines.models.cnn import SeedCnn
from engines.models.efficientnet_lite import FrameClassifier
from engines.models.inception_v3 import InceptionV3
from engines.models.meso4 import Meso4
from engines.models.xception import Xception
from engines.training.errors import TrainingError
from engines.training.optimisers import cosine, fit_optimiser, fit_schedule
from engines.training.recipe import Optimiser
from engines.training.trainable import blocks_of, freeze


def rates(recipe: Optimiser, steps: int) -> list[float]:
    optimiser = fit_optimiser(nn.Linear(2, 1), recipe)
    schedule = fit_schedule(optimiser, recipe, steps)
    found = []
    for _ in range(steps):
        found.append(float(schedule.get_last_lr()[0]))
        optimiser.step()
        schedule.step()
    return found


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_every_optimiser_runs_every_schedule_up_to_its_highest_rate(kind: str, schedule: str) -> None:
    recipe = Optimiser.model_validate({"kind": kind, "schedule": schedule, "learning_rate": 0.1, "warmup": 0.25})
    found = rates(recipe, 40)
    assert max(found) == pytest.approx(0.1, rel=0.02)
    assert (found[0] < 0.1, found[-1] < 0.01) == (schedule != "constant", schedule != "constant")


def test_a_cosine_rises_in_a_line_and_falls_to_nothing() -> None:
    assert [cosine(step, 3, 11) for step in (0, 1, 2, 3)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert cosine(7, 3, 11) == pytest.approx(0.5)
    assert cosine(11, 3, 11) == pytest.approx(0, abs=1e-12)


def test_one_cycle_leaves_the_momentum_of_sgd_alone() -> None:
    recipe = Optimiser(kind="sgd", momentum=0.5)
    optimiser = fit_optimiser(nn.Linear(2, 1), recipe)
    fit_schedule(optimiser, recipe, 10)
    assert optimiser.param_groups[0]["momentum"] == 0.5


@pytest.mark.parametrize(
    ("network", "count"),
    [(FrameClassifier, 18), (Xception, 16), (InceptionV3, 16), (lambda: SeedCnn(32), 5), (lambda: Meso4(size=32), 5)],
)
def test_blocks_hold_every_parameter_but_the_heads(network: type[Backbone], count: int) -> None:
    with torch.device("meta"):
        made = network()
    blocks = blocks_of(made)
    held = {parameter for block in blocks for layer in block for parameter in layer.parameters()}
    wanted = {value for name, value in made.named_parameters() if not name.startswith("frame_head")}
    assert len(blocks) == count
    assert held == wanted


@pytest.mark.parametrize(
    ("trainable", "left"),
    [
        ("all", {"conv1", "conv2", "conv3", "dense1", "dense2", "frame_head"}),
        ("last:2", {"dense1", "dense2", "frame_head"}),
        ("head", {"frame_head"}),
    ],
)
def test_only_what_is_trainable_has_gradients(trainable: str, left: set[str]) -> None:
    network = SeedCnn(32)
    freeze(network, trainable)
    named = network.named_parameters()
    assert {name.partition(".")[0] for name, value in named if value.requires_grad} == left
    assert sum(len(group["params"]) for group in fit_optimiser(network, Optimiser()).param_groups) == 2 * len(left)


def test_more_blocks_than_there_are_is_a_mistake() -> None:
    with pytest.raises(TrainingError, match="the network has 5 blocks"):
        freeze(SeedCnn(32), "last:6")
