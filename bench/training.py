"""What a training step costs on this machine, with plain layers and with the fast ones, side by side in one run.

    python -m bench.training [--size 192] [--steps 4]

Alternating steps of the same network on the same batch: torch's own depthwise backward pass, and ours
(engines/training/depthwise.py); medians. Memory is kept between steps in both (engines/training/memory.py).
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from engines.catalog import CATALOG
from engines.models.efficientnet_lite import FrameClassifier
from engines.training.changes import grid_of
from engines.training.fit import Task, start_state, take_step
from engines.training.loader import Batch
from engines.training.localise import LocalisingClassifier
from engines.training.memory import keep_freed_memory
from engines.training.recipe import BackboneRecipe
from engines.training.resume import FitState


def main(argv: list[str] | None = None) -> None:
    """Print one line a variant and the ratio."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each variant")
    options = parser.parse_args(argv)
    keep_freed_memory()
    recipe = BackboneRecipe(size=options.size, localisation=1.0)
    task = Task(recipe, CATALOG["lite0-gru"].pixels)
    torch.set_num_threads(recipe.threads)
    batch, states = _batch(recipe), {"plain": _plain(task), "fast": start_state(FrameClassifier(), task)}
    seconds: dict[str, list[float]] = {name: [] for name in states}
    for step in range(2 + options.steps):
        for name, state in states.items():
            began = time.perf_counter()
            take_step(state, batch, task)
            if step >= 2:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(
            f"{name}: {median * 1e3:.0f} ms a step of {len(batch.labels)}, {len(batch.labels) / median:.1f} pictures/s"
        )
    print(f"{medians['plain'] / medians['fast']:.2f} x as fast")


def _plain(task: Task) -> FitState:
    """A state whose network keeps torch's layers."""
    state = start_state(FrameClassifier(), task)
    plain = LocalisingClassifier(FrameClassifier())
    plain.load_state_dict(state.model.state_dict())
    plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    state.model = plain
    return state


def _batch(recipe: BackboneRecipe) -> Batch:
    rng, count = np.random.default_rng(0), 2 * recipe.sampling.pairs
    pictures = rng.integers(0, 256, (count, recipe.size, recipe.size, 3), np.uint8)
    changed = np.zeros((count, grid_of(recipe.size), grid_of(recipe.size)), np.float32)
    return Batch(pictures, np.tile(np.array([0, 1], np.float32), count // 2), changed)


if __name__ == "__main__":
    main()
