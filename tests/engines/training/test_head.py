"""The head's fit: it starts from the frame logit, learns, and unfolds to the plain network."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import numpy as np
import torch

from engines.models.gru_head import WINDOW_SLOTS, GruHead
from engines.training.head import (
    Directions,
    find_directions,
    fit_head,
    head_logits,
    start_as_running_mean,
    unfolded,
    windows_of,
)
from engines.training.metrics import roc_auc
from engines.training.recipe import HeadRecipe
from engines.training.windows import ClipFeatures, Floats, draw_masks, fill_slots, mean_logits

FEATURES, RENDERED = 12, 6
FRAME_WEIGHTS = np.linspace(-1, 1, FEATURES).astype(np.float32)


def clips_of(count: int, seed: int) -> ClipFeatures:
    """Noisy features that lean towards the frame weights when fake."""
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], count // 2).astype(np.int64)
    lean = (labels[:, None, None] - 0.5) * FRAME_WEIGHTS
    features = rng.standard_normal((count, RENDERED, FEATURES)) * np.linspace(1, 3, FEATURES) + lean + 2.0
    slots = np.sort(np.stack([rng.choice(WINDOW_SLOTS, RENDERED, replace=False) for _ in range(count)]))
    values = features.astype(np.float32)
    return ClipFeatures(values, values @ FRAME_WEIGHTS, slots.astype(np.int64), labels)


def directions_of(clips: ClipFeatures, count: int = 4) -> Directions:
    return find_directions(clips.features.reshape(-1, FEATURES), FRAME_WEIGHTS, count)


def test_projected_features_have_unit_variance() -> None:
    clips = clips_of(200, 0)
    projected = directions_of(clips).project(clips.features).reshape(-1, 4)
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(projected.std(0), 1, atol=1e-2)


def test_the_first_direction_is_the_frame_logit() -> None:
    clips = clips_of(200, 0)
    first = directions_of(clips).project(clips.features)[..., 0]
    assert np.corrcoef(first.ravel(), clips.frame_logits.ravel())[0, 1] == pytest.approx(1, abs=1e-4)


def test_a_feature_that_never_fires_stays_finite() -> None:
    features = np.random.default_rng(0).standard_normal((50, FEATURES)).astype(np.float32)
    features[:, 3] = 0
    directions = find_directions(features, FRAME_WEIGHTS, 4)
    assert np.isfinite(directions.project(features)).all()


def windows(clips: ClipFeatures, features: Floats, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    filled = fill_slots(rng, clips, WINDOW_SLOTS)
    return windows_of(features, filled), draw_masks(rng, len(clips), WINDOW_SLOTS, 5)


def test_the_unfolded_head_is_the_same_function() -> None:
    torch.manual_seed(0)
    clips = clips_of(40, 1)
    directions, small = directions_of(clips), GruHead(4).eval()
    folded, mask = windows(clips, directions.project(clips.features))
    whole, _ = windows(clips, clips.features)
    expected = head_logits(small, folded, mask)
    np.testing.assert_allclose(head_logits(unfolded(small, directions), whole, mask), expected, atol=1e-4)


def test_before_any_step_the_head_ranks_as_the_mean_logit_does() -> None:
    torch.manual_seed(0)
    clips = clips_of(300, 2)
    directions, small = directions_of(clips), GruHead(4).eval()
    start_as_running_mean(small)
    projected, mask = windows(clips, directions.project(clips.features))
    means = mean_logits(clips, fill_slots(np.random.default_rng(0), clips, WINDOW_SLOTS), mask)
    assert np.corrcoef(head_logits(small, projected, mask), means)[0, 1] > 0.95


@pytest.mark.parametrize("samples", [1, 2, 5, 11, 20])
def test_before_any_step_the_first_layer_holds_the_mean_of_as_many_samples_as_there_were(samples: int) -> None:
    head = GruHead(1).eval()
    start_as_running_mean(head)
    seen = torch.from_numpy(np.random.default_rng(samples).normal(0.3, 1, (1, samples, 1)).astype(np.float32))
    state = head.gru1(seen, torch.ones(1, samples, 1))[0, -1, :3]
    means = [float(torch.tanh(seen - threshold).mean()) for threshold in (-1.0, 0.0, 1.0)]
    assert state.tolist() == pytest.approx(means, abs=0.05)


def test_the_fitted_head_is_no_worse_than_the_mean_on_clips_it_never_saw() -> None:
    train, val = clips_of(600, 3), clips_of(400, 4)
    recipe = HeadRecipe(epochs=6, batch=64, directions=4)
    head = fit_head(train, directions_of(train), recipe, seed=0)
    assert not head.training
    features, mask = windows(val, val.features)
    means = mean_logits(val, fill_slots(np.random.default_rng(0), val, WINDOW_SLOTS), mask)
    assert roc_auc(val.labels, head_logits(head, features, mask)) > roc_auc(val.labels, means) - 0.02


def test_a_fit_is_a_function_of_its_seed() -> None:
    clips = clips_of(64, 5)
    recipe = HeadRecipe(epochs=1, batch=32, directions=4)
    one, same, other = (fit_head(clips, directions_of(clips), recipe, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)
