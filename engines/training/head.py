"""The fit of the temporal head on cached features.

With 1,280 features and a few thousand clips a GRU over-fits at once. So it is fitted on a handful of directions of
feature space: the frame head's own, along which a mean of frame logits would decide, and the widest others. It starts
as a running mean of the frame logit, of as many samples as there are. Afterwards the directions are multiplied into its
first layer: the result is the plain ``GruHead`` on whole features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler

from engines.checkpoints.networks import Head
from engines.models.gru_head import WINDOW_SLOTS, GruHead, HoldingGru
from engines.training.fit import smoothed_loss
from engines.training.optimisers import optimiser_of
from engines.training.recipe import HeadRecipe
from engines.training.windows import ClipFeatures, Floats, Indices, draw_masks, fill_slots

MIN_SAMPLES = 5
_SCALE_FLOOR = 0.05
"""Of the mean deviation: a feature that hardly ever fires is not blown up."""
_THRESHOLDS = (-1.0, 0.0, 1.0)
_FIRST_GATE = -3.197
"""Update gate, as a logit, of a unit that has seen nothing: it takes the first sample nearly whole (0.039)."""
_COUNTERS = ((-1.850, 3.278), (1.878, 2.969))
"""(update gate as a logit, weight) of units that count samples, 1 - q^n after n of them. With their weighted sum the
update gates of the others come near to (n - 1) / n, those of a running mean: by least squares, the part of a sample in
a mean of n, up to 20, is 1 / n within 0.024 / sqrt(n)."""
_FULL = 4.0
"""tanh of it is 1, nearly."""
_PASSING = -6.0
"""Update gate, as a logit, of a unit that takes the newest input as it is."""
_CHUNK = 256


@dataclass(frozen=True, repr=False)
class Directions:
    """K directions of standardised feature space; features have unit variance along each."""

    mean: Floats
    """(F,)"""
    scale: Floats
    """(F,) factor after the mean is taken away."""
    rows: Floats
    """(K, F)"""

    def project(self, features: Floats) -> Floats:
        """(..., F) to (..., K)."""
        return np.asarray(((features - self.mean) * self.scale) @ self.rows.T, np.float32)


def find_directions(features: Floats, frame_weights: Floats, count: int) -> Directions:
    """The frame head's direction (F,), then the principal components at right angles to it, of (N, F) features."""
    mean, deviation = features.mean(0), features.std(0)
    scale = 1 / np.maximum(deviation, _SCALE_FLOOR * deviation.mean())
    standard = (features - mean) * scale
    first = frame_weights / scale
    first = first / np.linalg.norm(first)
    rows = np.vstack([first, _widest(standard - np.outer(standard @ first, first), count - 1)])
    rows = rows / (standard @ rows.T).std(0)[:, None]
    return Directions(mean.astype(np.float32), scale.astype(np.float32), rows.astype(np.float32))


def fit_head(clips: ClipFeatures, directions: Directions | None, recipe: HeadRecipe, seed: int) -> GruHead:
    """Fit on freshly filled and masked windows of every clip in every epoch; in evaluation mode, on whole features.

    Without directions it is fitted on features as they are, from random weights.
    """
    torch.manual_seed(seed)
    if directions is None:
        head = GruHead(clips.features.shape[-1]).train()
        _fit(head, clips, clips.features, recipe, seed)
        return head.eval()
    small = GruHead(len(directions.rows)).train()
    start_as_running_mean(small)
    _fit(small, clips, directions.project(clips.features), recipe, seed)
    return unfolded(small.eval(), directions)


def windows_of(features: Floats, filled: Indices) -> Floats:
    """(N, T, F) windows from (N, D, F) rendered frames and (N, T) their places."""
    return np.take_along_axis(features, filled[..., None], axis=1)


@torch.no_grad()
def start_as_running_mean(head: GruHead) -> None:
    """Let three units of the first layer hold the mean, over the samples so far, of the first direction, the frame
    logit's, seen at three thresholds; the second layer hands them on.

    The mean has the same scale after 5 samples as after 20, so windows with gaps are judged like whole ones. The frame
    head has learnt from far more pictures than there are clips; from here the fit can only refine it. The other units
    keep their random start, scaled down.
    """
    head.gru1.weight_ih_l0.mul_(0.2)
    first_counter, update = len(_THRESHOLDS), head.gru1.units
    for counter, (gate, _) in enumerate(_COUNTERS, first_counter):
        _follow(head.gru1, counter, source=0, gain=0.0, bias=_FULL, gate=gate)
    for unit, threshold in enumerate(_THRESHOLDS):
        _follow(head.gru1, unit, source=0, gain=1.0, bias=-threshold, gate=_FIRST_GATE)
        for counter, (_, weight) in enumerate(_COUNTERS, first_counter):
            head.gru1.weight_hh_l0[update + unit, counter] = weight
        _follow(head.gru2, unit, source=unit, gain=2.0, bias=0.0, gate=_PASSING)
    head.dense1.weight[:2, : len(_THRESHOLDS)] = torch.tensor([[1.0], [-1.0]])
    head.dense2.weight[0, :2] = torch.tensor([1.0, -1.0])


def unfolded(small: GruHead, directions: Directions) -> GruHead:
    """The same function of whole features: the directions multiplied into the first layer."""
    head = GruHead(directions.rows.shape[1])
    state = small.state_dict()
    state["feature_mean"] = torch.from_numpy(directions.mean)
    state["feature_scale"] = torch.from_numpy(directions.scale)
    state["gru1.weight_ih_l0"] = state["gru1.weight_ih_l0"] @ torch.from_numpy(directions.rows)
    head.load_state_dict(state)
    return head.eval()


@torch.inference_mode()
def head_logits(head: Head, windows: Floats, masks: Floats) -> NDArray[np.float64]:
    """(N,) logits of (N, T, F) windows under (N, T) masks."""
    parts = [
        head(torch.from_numpy(windows[start : start + _CHUNK]), torch.from_numpy(masks[start : start + _CHUNK]))[:, 0]
        for start in range(0, len(windows), _CHUNK)
    ]
    return np.asarray(torch.cat(parts).double().numpy(), np.float64)


def _fit(head: GruHead, clips: ClipFeatures, features: Floats, recipe: HeadRecipe, seed: int) -> None:
    """Every epoch of it; ``features`` (N, D, F) stand for the clips' own."""
    rng, steps = np.random.default_rng((seed, 5)), -(-len(clips) // recipe.batch)
    optimiser = optimiser_of(
        recipe.kind,
        head.parameters(),
        recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        momentum=recipe.momentum,
    )
    total = recipe.epochs * steps
    schedule: LRScheduler
    schedule = CosineAnnealingLR(optimiser, total) if recipe.schedule == "cosine" else ConstantLR(optimiser, 1.0)
    for _ in range(recipe.epochs):
        windows = windows_of(features, fill_slots(rng, clips, WINDOW_SLOTS))
        masks = draw_masks(rng, len(clips), WINDOW_SLOTS, MIN_SAMPLES)
        for rows in np.array_split(rng.permutation(len(clips)), steps):
            logits = head(torch.from_numpy(windows[rows]), torch.from_numpy(masks[rows]))[:, 0]
            labels = torch.from_numpy(clips.labels[rows]).float()
            _descend(head, optimiser, smoothed_loss(logits, labels, recipe.label_smoothing))
            schedule.step()


def _widest(centred: Floats, count: int) -> NDArray[np.float64]:
    """(count, F) principal components of (N, F), the widest last; only those are worked out (Lanczos)."""
    if not count:
        return np.empty((0, centred.shape[1]))
    covariance = (centred.T @ centred).astype(np.float64)
    start = np.random.default_rng(0).standard_normal(len(covariance))
    return np.asarray(eigsh(covariance, count, v0=start)[1].T, np.float64)


def _follow(layer: HoldingGru, unit: int, *, source: int, gain: float, bias: float, gate: float) -> None:
    """Make one unit's candidate tanh(gain * input[source] + bias) behind a constant update gate, without recurrence."""
    new, update = 2 * layer.units + unit, layer.units + unit
    for row in (new, update):
        layer.weight_ih_l0[row] = 0
        layer.weight_hh_l0[row] = 0
    layer.weight_ih_l0[new, source] = gain
    layer.bias_ih_l0[new], layer.bias_hh_l0[new] = bias, 0
    layer.bias_ih_l0[update] = layer.bias_hh_l0[update] = gate / 2


def _descend(head: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    nn.utils.clip_grad_norm_(head.parameters(), 1.0)
    optimiser.step()
