from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.preprocess import Bytes
from stream.evidence.heatmap import CELLS, CROPS, TimedCrop, affordable, blurry, hide, occlusion_map, slots_of, spread
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


def test_what_falls_is_the_score_of_the_same_crops() -> None:
    """The map is exact: whole minus hidden, asked of the model itself."""
    scorer, crops = detail_at(2, 2), window(CROPS)
    heat = occlusion_map(scorer, crops)

    def asked(pictures: list[Bytes]) -> float:
        features, mask = np.zeros((1, SLOTS, 4), np.float32), np.zeros((1, SLOTS), np.float32)
        features[0, -CROPS:], mask[0, -CROPS:] = scorer.embed(pictures), 1
        return float(scorer.score(features, mask)[0])

    whole = asked([item.crop for item in crops])
    hidden = asked([hide(item.crop, blurry(item.crop), 2, 2) for item in crops])
    assert heat.logit == pytest.approx(whole, abs=1e-5)
    assert heat.drops[2, 2] == pytest.approx(whole - hidden, abs=1e-5)


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


@pytest.mark.parametrize(("count", "wanted", "expected"), [(1, 5, [0]), (3, 5, [0, 1, 2]), (20, 5, [0, 5, 10, 14, 19])])
def test_crops_are_spread_over_the_window(count: int, wanted: int, expected: list[int]) -> None:
    crops = window(count)
    assert [crops.index(item) for item in spread(crops, wanted)] == pytest.approx(expected, abs=1)
    assert spread(crops, 1) == [crops[-1]]


@given(gaps=st.lists(st.floats(0, 3), max_size=19))
def test_every_crop_has_a_slot_of_its_own_in_order_and_the_newest_the_last(gaps: list[float]) -> None:
    times = np.concatenate([[0], np.cumsum(gaps)])
    crop = np.zeros((1, 1, 3), np.uint8)
    slots = slots_of([TimedCrop(round(at * 1e9), crop) for at in times], spec_of())
    assert slots[-1] == SLOTS - 1
    assert all(first < second for first, second in pairwise(slots)) or min(slots) == 0


@pytest.mark.parametrize(("seconds", "crops"), [(0.0, CROPS), (0.01, CROPS), (0.1, 4), (0.39, 1), (60.0, 1)])
def test_a_slow_model_is_asked_about_fewer_crops(seconds: float, crops: int) -> None:
    assert affordable(seconds, 20.0) == crops


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
