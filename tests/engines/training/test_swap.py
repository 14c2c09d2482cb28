"""Swaps and landmark masks: made of real faces only, changed where their mask says, and the same after a restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.training.degrade import Rgb
from engines.training.errors import TrainingError
from engines.training.face_hulls import FAINTEST_MASK, face_core, hull_mask
from engines.training.faces import Face, FaceSet
from engines.training.landmarks import LandmarkFinder, Points, aligned, known, open_landmarks
from engines.training.loader import BatchMaker
from engines.training.pairing import Pairing
from engines.training.recipe import BackboneRecipe, Sampling
from engines.training.self_blend import blended_with_itself
from engines.training.swap import Donors, Still, matched_colour, swapped, warped
from tests.engines.training.portrait import portrait

PORTRAIT = Still(*portrait())
SIDE = 224


def jittered(seed: int) -> Points:
    """Another person's landmarks."""
    return PORTRAIT.points + np.random.default_rng(seed).normal(0, 3, (68, 2)).astype(np.float32)


def another(seed: int = 1) -> Still:
    """Another person: the portrait in other colours."""
    rng = np.random.default_rng(seed)
    return Still(np.clip(PORTRAIT.rgb * rng.uniform(0.5, 1.0, 3), 0, 255).astype(np.uint8), jittered(seed))


def face_set(sources: int = 12) -> tuple[FaceSet, Points]:
    """A real and a fake of each source; the fakes have no landmarks, nor has the last real."""
    faces, points = [], []
    for source in range(sources):
        faces += [Face(f"r{source}", f"r{source}", False, "train"), Face(f"f{source}", f"r{source}", True, "train")]
        points += [jittered(source), np.full((68, 2), np.nan, np.float32)]
    points[-2] = points[-1]
    pixels = np.stack([another(row).rgb for row in range(len(faces))])
    return FaceSet(tuple(faces), pixels), np.stack(points)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_hull_mask_is_visible_soft_and_over_the_face(seed: int) -> None:
    mask = hull_mask(np.random.default_rng(seed), PORTRAIT.points, SIDE)
    assert mask.shape == (SIDE, SIDE)
    assert mask.min() >= 0
    assert FAINTEST_MASK <= mask.max() <= 1
    centre = np.average(np.argwhere(mask > 0.1), axis=0)[::-1]
    low, high = PORTRAIT.points.min(0), PORTRAIT.points.max(0)
    assert np.all((centre > low) & (centre < high))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_a_swap_changes_the_target_under_its_mask_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fake, mask = swapped(rng, PORTRAIT, another())
    change = np.abs(fake.astype(int) - PORTRAIT.rgb).max(2)
    assert change[mask == 0].max(initial=0) <= 1
    assert change[mask > 0.2].mean() > 1


def test_a_swap_is_a_function_of_its_rng_and_leaves_its_inputs_alone() -> None:
    before = PORTRAIT.rgb.copy()
    one, other = (swapped(np.random.default_rng(5), PORTRAIT, another()) for _ in range(2))
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])
    assert np.array_equal(PORTRAIT.rgb, before)


def test_a_face_bent_onto_its_own_landmarks_is_itself() -> None:
    change = np.abs(warped(PORTRAIT, PORTRAIT.points).astype(int) - PORTRAIT.rgb)
    assert change.mean() < 0.5


def test_a_warp_takes_each_point_to_its_place() -> None:
    dotted = np.zeros((SIDE, SIDE, 3), np.uint8)
    x, y = PORTRAIT.points[30].round().astype(int)
    dotted[y - 2 : y + 3, x - 2 : x + 3] = 255
    shape = PORTRAIT.points + np.array([9, -6], np.float32)
    bright = np.argwhere(warped(Still(dotted, PORTRAIT.points), shape)[..., 0] > 128).mean(0)
    assert np.allclose(bright[::-1], shape[30], atol=1.5)


def test_alignment_undoes_a_move_a_turn_and_a_scale() -> None:
    turn = 1.4 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    moved = (PORTRAIT.points @ turn.T + (20, -7)).astype(np.float32)
    assert np.allclose(aligned(moved, PORTRAIT.points), PORTRAIT.points, atol=0.01)


def test_matched_colours_have_the_targets_mean_and_none_asked_for_changes_none() -> None:
    core = face_core(PORTRAIT.points, SIDE)
    face = another().rgb
    means = [rgb[core > 0].mean(0) for rgb in (matched_colour(face, PORTRAIT.rgb, core, 1.0), PORTRAIT.rgb)]
    assert np.abs(means[0] - means[1]).max() < 6
    assert np.array_equal(matched_colour(face, PORTRAIT.rgb, core, 0.0), face)


def test_a_self_blend_follows_landmarks_when_it_is_given_them() -> None:
    corner: Points = PORTRAIT.points * 0.4 + 120
    for seed in range(6):
        _, mask = blended_with_itself(np.random.default_rng(seed), PORTRAIT.rgb, corner)
        assert mask[:60, :60].max() < 1e-6


def test_donors_are_near_of_another_source_and_never_unknown() -> None:
    faces, points = face_set()
    donors, rng = Donors(faces.faces, points), np.random.default_rng(0)
    drawn = {donors.of(rng, 0) for _ in range(200)}
    assert drawn == set(range(2, 22, 2))
    assert donors.of(rng, 22) is None
    assert donors.of(rng, 1) is None


def test_only_the_nearest_shapes_are_drawn() -> None:
    faces = [Face(f"{row}", f"{row}", False, "train") for row in range(90)]
    rng = np.random.default_rng(0)
    noise = np.linspace(0, 20, 90)[:, None, None] * rng.normal(0, 1, (90, 68, 2))
    donors = Donors(faces, (PORTRAIT.points + noise).astype(np.float32))
    drawn = [donors.of(rng, 0) for _ in range(300)]
    assert max(row for row in drawn if row is not None) < 60


def test_nobody_is_left_when_all_are_of_one_source() -> None:
    faces = [Face(f"{row}", "one", False, "train") for row in range(3)]
    assert Donors(faces, np.stack([jittered(row) for row in range(3)])).of(np.random.default_rng(0), 0) is None


def test_swaps_take_their_share_and_wear_a_donor() -> None:
    faces, points = face_set()
    sampling = Sampling(pairs=4, self_blended=0.2, swapped=0.5)
    pairing = Pairing(faces.faces, sampling, 0, Donors(faces.faces, points))
    pairs = [pair for batch in pairing.pairs(0, 200) for pair in batch]
    swaps = [pair for pair in pairs if pair.donor is not None]
    assert 0.38 < len(swaps) / len(pairs) < 0.53
    assert all(pair.fake is None and pair.donor != pair.real for pair in swaps)


def test_a_recipe_without_swaps_draws_what_it_drew_before_there_were_any() -> None:
    faces, points = face_set()
    plain = Pairing(faces.faces, Sampling(pairs=4), 0)
    ready = Pairing(faces.faces, Sampling(pairs=4), 0, Donors(faces.faces, points))
    assert [plain.batch(step) for step in range(20)] == [ready.batch(step) for step in range(20)]


def test_swaps_without_landmarks_are_refused() -> None:
    with pytest.raises(TrainingError, match="need landmarks"):
        Pairing(face_set()[0].faces, Sampling(swapped=0.1), 0)


def test_shares_of_more_than_all_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 1 together"):
        Sampling(self_blended=0.7, swapped=0.4)


def test_a_batch_with_swaps_is_a_function_of_seed_and_step() -> None:
    faces, points = face_set()
    recipe = BackboneRecipe(size=64, sampling=Sampling(pairs=4, swapped=0.6, self_blended=0.4, landmark_masks=0.5))
    walked = BatchMaker(faces, recipe, 0, points)
    walked.batch(0)
    one, other = walked.batch(3), BatchMaker(faces, recipe, 0, points).batch(3)
    assert np.array_equal(one.rgb, other.rgb)
    assert np.array_equal(one.changed, other.changed)
    assert not np.isnan(one.changed).any()


def faked_portraits() -> FaceSet:
    """The portrait as a real, and as a fake."""
    faces = Face("r", "r", False, "train"), Face("f", "r", True, "train")
    return FaceSet(faces, np.stack([PORTRAIT.rgb, PORTRAIT.rgb]))


@pytest.fixture(scope="module")
def finder() -> LandmarkFinder:
    pytest.importorskip("dlib", reason="landmarks: pip install dlib-bin face-recognition-models")
    return LandmarkFinder()


def test_landmarks_of_a_real_face_are_found_and_of_no_face_are_not(finder: LandmarkFinder) -> None:
    found = finder.find(PORTRAIT.rgb)
    assert found is not None
    assert np.linalg.norm(found - PORTRAIT.points, axis=1).mean() < 3
    noise: Rgb = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    assert finder.find(noise) is None


@pytest.mark.usefixtures("finder")
def test_landmarks_are_found_once_of_reals_only_and_found_anew_for_other_faces(tmp_path: Path) -> None:
    faces = faked_portraits()
    points = open_landmarks(faces, tmp_path)
    assert known(points).tolist() == [True, False]
    stored = tmp_path / "landmarks.npz"
    before = stored.stat().st_mtime_ns
    assert np.array_equal(open_landmarks(faces, tmp_path), points, equal_nan=True)
    assert stored.stat().st_mtime_ns == before
    assert len(open_landmarks(faces.subset(np.array([0])), tmp_path)) == 1
