"""Maps of what a forgery changed: true where they are known, NaN where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut

from engines.training.changes import cells, changed_part, grid_of, unknown, untouched
from engines.training.degrade import Rgb, jpeg
from engines.training.self_blend import blended_with_itself

FACE: Rgb = np.ascontiguousarray(astronaut()[0:224, 110:334])


def test_the_changed_part_is_where_the_fake_differs() -> None:
    fake = FACE.copy()
    fake[120:180, 80:140] = 255 - fake[120:180, 80:140]
    part = changed_part(FACE, jpeg(fake, 80))
    assert part is not None
    assert part[62:88, 42:68].mean() > 0.8
    assert part[:40].mean() < 0.02


def test_compression_alone_changes_next_to_nothing() -> None:
    part = changed_part(jpeg(FACE, 85), jpeg(FACE, 60))
    assert part is not None
    assert part.mean() < 0.02


@pytest.mark.parametrize("other", [FACE[::-1].copy(), np.roll(FACE, 30, axis=1), np.full_like(FACE, 90)])
def test_of_pictures_of_different_frames_nothing_is_known(other: Rgb) -> None:
    assert changed_part(FACE, other) is None


def test_a_self_blended_fake_comes_with_the_mask_that_made_it() -> None:
    for seed in range(20):
        fake, mask = blended_with_itself(np.random.default_rng(seed), FACE)
        difference = np.abs(fake.astype(int) - FACE).mean(2)
        assert mask.shape == FACE.shape[:2]
        assert (mask > 0.3).any()
        assert difference[mask > 0.3].mean() > difference[mask < 0.01].mean()


@pytest.mark.parametrize(("size", "grid"), [(32, 1), (144, 5), (160, 5), (192, 6), (224, 7)])
def test_maps_have_the_grid_of_the_network(size: int, grid: int) -> None:
    assert grid_of(size) == grid
    assert unknown(size).shape == untouched(size).shape == (grid, grid)
    assert np.isnan(unknown(size)).all()
    assert not untouched(size).any()


def test_a_cell_that_is_changed_by_a_third_counts_as_changed() -> None:
    mask = np.zeros((192, 192), np.float32)
    mask[:11, :32] = 1
    grid = cells(mask, 192)
    assert grid[0, 0] == pytest.approx(1, abs=0.05)
    assert grid.sum() == pytest.approx(grid[0, 0])
