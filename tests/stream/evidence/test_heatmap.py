from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.preprocess import Bytes
from stream.evidence.heatmap import CELLS, CROPS, TimedCrop, blurry, hide, occlusion_map, spread
from stream.scoring.scorer import ModelScorer
from tests.fakes import SIZE, SLOTS, backbone_of, head_of, spec_of

CELL = SIZE / CELLS


def window(count: int, *, period_s: float = 0.2, crop: Bytes | None = None) -> list[TimedCrop]:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    return [TimedCrop(round(number * period_s * 1e9), noise if crop is None else crop) for number in range(count)]


def detail_at(row: int, column: int, positive: Any = "fake") -> ModelScorer:
    """A model that looks at one cell only: the more detail there, the higher its logit."""
    rows, columns = (slice(round(i * CELL) + 1, round((i + 1) * CELL) - 1) for i in (row, column))

    def features(crops: Any) -> Any:
        part = crops[:, :, rows, columns]
        return np.repeat(part.std((1, 2, 3))[:, None], 4, 1)

    def logit(values: Any, mask: Any) -> Any:
        mean = (values[:, :, 0] * mask).sum(1) / mask.sum(1)
        return mean if positive == "fake" else -mean

    spec = spec_of(positive=positive)
    return ModelScorer(backbone_of(features), head_of(logit), spec)


@pytest.mark.parametrize("positive", ["fake", "real"])
@pytest.mark.parametrize("cell", [(0, 0), (3, 3), (2, 5), (6, 6)])
def test_the_part_that_the_score_rests_on_is_the_warmest(cell: tuple[int, int], positive: str) -> None:
    heat = occlusion_map(detail_at(*cell, positive), window(10))
    assert np.unravel_index(heat.drops.argmax(), heat.drops.shape) == cell
    assert heat.drops[cell] > 0.1


def test_a_model_that_looks_nowhere_gives_an_even_map() -> None:
    scorer = ModelScorer(backbone_of(), head_of(2.5), spec_of())
    heat = occlusion_map(scorer, window(10))
    assert heat.logit == 2.5
    assert heat.drops.shape == (CELLS, CELLS)
    assert not heat.drops.any()


def test_what_falls_is_the_score_of_the_same_crop() -> None:
    """The map is exact: whole minus hidden, asked of the model itself."""
    scorer, crop = detail_at(2, 2), window(1)[0].crop
    heat = occlusion_map(scorer, window(1))

    def asked(picture: Bytes) -> float:
        features, mask = np.zeros((1, SLOTS, 4), np.float32), np.zeros((1, SLOTS), np.float32)
        features[0, -1:], mask[0, -1] = scorer.embed([picture]), 1
        return float(scorer.score(features, mask)[0])

    assert heat.logit == pytest.approx(asked(crop), abs=1e-5)
    assert heat.drops[2, 2] == pytest.approx(asked(crop) - asked(hide(crop, blurry(crop), 2, 2)), abs=1e-5)


def test_a_map_is_the_mean_of_its_crops() -> None:
    noise = [np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8) for seed in range(3)]
    scorer, crops = detail_at(1, 4), [TimedCrop(seed, crop) for seed, crop in enumerate(noise)]
    alone = np.mean([occlusion_map(scorer, [crop]).drops for crop in crops], axis=0)
    heat = occlusion_map(scorer, crops)
    np.testing.assert_allclose(heat.drops, alone, atol=1e-5)
    assert heat.crop is noise[2]


def test_hiding_touches_its_cell_and_what_lies_next_to_it_only() -> None:
    crop = window(1)[0].crop
    hidden = hide(crop, blurry(crop), 3, 3)
    changed = (hidden != crop).any(2)
    inner = slice(round(3 * CELL), round(4 * CELL))
    assert changed[inner, inner].mean() > 0.9
    assert not changed[: int(2 * CELL)].any()
    assert not changed[:, int(5 * CELL) + 1 :].any()
    assert hidden[inner, inner].std() < crop[inner, inner].std() / 2


def test_an_even_crop_is_the_same_with_any_part_hidden() -> None:
    even = np.full((SIZE, SIZE, 3), 77, np.uint8)
    assert (hide(even, blurry(even), 0, 6) == even).all()


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [1, 0]), (3, [2, 1, 0]), (20, [19, 10, 0])])
def test_crops_are_spread_over_the_window_the_newest_first(count: int, expected: list[int]) -> None:
    assert [round(item.pts_ns / 2e8) for item in spread(window(count), CROPS)] == expected


@pytest.mark.parametrize(("seconds", "crops"), [(1.0, 3), (6.0, 2), (60.0, 1)])
def test_a_slow_model_is_asked_about_fewer_crops(seconds: float, crops: int) -> None:
    """``seconds``: that one crop takes."""
    times = iter([0.0, *(seconds * number for number in range(1, 9))])
    heat = occlusion_map(detail_at(1, 1), window(20), budget_s=10.0, clock=lambda: next(times))
    assert heat.crops == crops


@settings(deadline=None, max_examples=10)
@given(count=st.integers(1, 20))
def test_any_window_has_a_map(count: int) -> None:
    assert occlusion_map(detail_at(1, 1), window(count)).crops == min(count, CROPS)


FACES = Path(__file__).parents[4] / "shared" / "data" / "deepfake-faces"


def test_on_half_swapped_faces_the_changed_half_is_mostly_the_warmer_one() -> None:
    """Half of each face is a fake's, the other its original's: the same frame of one video."""
    if not (FACES / "metadata.csv").is_file():
        pytest.skip("../shared/data/deepfake-faces is not here")
    from engines.catalog import SPEC_FILE, model_folder
    from engines.spec import load_spec
    from stream.evidence_parts import own_scorer
    from tests.stream.evidence.half_swapped import half_swapped

    folder = model_folder("lite0-gru")
    hits = []
    with own_scorer(folder, load_spec(folder / SPEC_FILE)) as scorer:
        for picture, is_left in half_swapped(FACES, scorer, 5):
            drops = occlusion_map(scorer, [TimedCrop(0, picture)]).drops
            left, right = drops[:, : CELLS // 2].mean(), drops[:, -(CELLS // 2) :].mean()
            hits.append((left > right) == is_left)
    assert sum(hits) >= 4, hits
