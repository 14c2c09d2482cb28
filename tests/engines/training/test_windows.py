"""Windows out of rendered frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.export.package import neutral_spec
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.training.faces import FaceSet, open_faces
from engines.training.windows import ClipFeatures, ClipPlan, draw_masks, embed_clips, fill_slots, mean_logits
from tests.engines.training.faces_on_disk import rows_of, write_set

SLOTS = 20


def rendered(*slots: int) -> ClipFeatures:
    """One clip whose features and logits are the numbers of its slots."""
    values = np.array([slots], np.float32)
    return ClipFeatures(values[..., None], values, np.array([slots], np.int64), np.array([1]))


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, SLOTS - 1), min_size=1), st.integers(0, 99))
def test_a_slot_holds_itself_or_its_nearest_rendered_neighbour(slots: set[int], seed: int) -> None:
    clips = rendered(*sorted(slots))
    filled = fill_slots(np.random.default_rng(seed), clips, SLOTS)[0]
    for slot, place in enumerate(filled):
        held = sorted(slots)[place]
        between = [other for other in slots if min(slot, held) < other < max(slot, held)]
        assert not between
        assert held == slot or slot not in slots


def test_a_clip_rendered_whole_is_taken_as_it_is() -> None:
    assert list(fill_slots(np.random.default_rng(0), rendered(*range(SLOTS)), SLOTS)[0]) == list(range(SLOTS))


def test_masks_leave_enough_samples_and_come_in_every_kind() -> None:
    masks = draw_masks(np.random.default_rng(0), 400, SLOTS, 5)
    counts = masks.sum(1)
    assert counts.min() >= 5
    assert 0.4 < (counts == SLOTS).mean() < 0.6
    newest_only = [mask for mask in masks if mask[-5:].all() and not mask[0] and np.all(np.diff(mask) >= 0)]
    oldest_only = [mask for mask in masks if mask[:5].all() and not mask[-1] and np.all(np.diff(mask) <= 0)]
    assert len(newest_only) > 20
    assert len(oldest_only) > 20


def test_the_mean_logit_leaves_missing_slots_out() -> None:
    clips = rendered(*range(SLOTS))
    filled, mask = fill_slots(np.random.default_rng(0), clips, SLOTS), np.zeros((1, SLOTS), np.float32)
    mask[0, [2, 4]] = 1
    assert mean_logits(clips, filled, mask) == pytest.approx([3.0])


def brightness(arrays: Mapping[str, Array]) -> dict[str, Array]:
    mean = arrays["crops"].mean((1, 2, 3), keepdims=False)[:, None]
    return {"features": np.tile(mean, (1, 3)), "frame_logit": mean}


@pytest.fixture
def faces(tmp_path: Path) -> FaceSet:
    rows = [*rows_of(4, "train", "a"), *rows_of(3, "val", "b")]
    return open_faces(write_set(tmp_path / "set", rows, zipped=True), tmp_path / "scratch")


def embedded(faces: FaceSet, plan: ClipPlan) -> ClipFeatures:
    inputs = (TensorSpec("crops", (None, 3, 32, 32)),)
    outputs = (TensorSpec("features", (None, 3)), TensorSpec("frame_logit", (None, 1)))
    return embed_clips(ScriptedBackend(inputs, outputs, brightness), neutral_spec("tiny", 32), faces, plan)


def test_half_of_the_clips_are_real_and_every_planned_frame_is_there(faces: FaceSet) -> None:
    clips = embedded(faces, ClipPlan("train", 6, 4, 0.5, seed=1))
    assert list(clips.labels) == [0, 1] * 3
    assert clips.features.shape == (6, 4, 3)
    assert clips.frame_logits.shape == clips.slots.shape == (6, 4)
    assert bool((np.diff(clips.slots) > 0).all())


def test_clips_are_a_function_of_the_plan(faces: FaceSet) -> None:
    one, other = (embedded(faces, ClipPlan("val", 4, 3, 0.0, seed=2)) for _ in range(2))
    assert np.array_equal(one.features, other.features)
    assert not np.array_equal(one.features, embedded(faces, ClipPlan("val", 4, 3, 0.0, seed=3)).features)
