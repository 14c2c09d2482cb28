"""Every catalog row with a head, tiny: from its recipe to a folder that scores a face."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from pathlib import Path

import numpy as np

from engines.catalog import CATALOG, open_model
from engines.postprocess import fake_probability
from engines.preprocess import normalise
from engines.training.recipe import load_recipe
from engines.training.run import Run
from tests.engines.training.faces_on_disk import rows_of, write_set

SIZES = {"inception-v3": 75}
"""Smallest input where 32 pixels are too few."""
PLAIN = "sampling: {pairs: 2, balance: shuffled, self_blended: 0}, precision: fp32"
FITS = {
    "lite0-gru": "backbone: {threads: 1, size: 32, draws: 4, localisation: 1, sampling: {pairs: 2}}",
    "xception-gru": "backbone: {threads: 1, size: 32, draws: 4, trainable: 'last:2', sampling: {pairs: 2}}",
    "inception-gru": "backbone: {threads: 1, size: 75, draws: 0}",
    "xception": f"backbone: {{threads: 1, size: 32, draws: 4, trainable: head, {PLAIN}}}",
    "seed-cnn": f"backbone: {{threads: 1, size: 32, draws: 8, {PLAIN}, validation: {{every: 1, keep: best}}}}",
    "seed-cnn-large": f"backbone: {{threads: 1, size: 32, draws: 4, {PLAIN}}}",
    "meso4": f"backbone: {{threads: 1, size: 32, draws: 8, {PLAIN}, accumulate: 2}}",
}
HEADS = {
    "inception-gru": "{train_clips: 4, val_clips: 8, rendered: 2, directions: 0, kind: sgd, epochs: 1, period_s: 0.1}"
}
HEAD = "{train_clips: 8, val_clips: 8, rendered: 2, directions: 2, epochs: 1}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [*rows_of(4, "train", "a"), *rows_of(4, "val", "b")]
    return write_set(tmp_path_factory.mktemp("faces"), rows, zipped=False)


def test_every_row_with_a_head_is_trained_here() -> None:
    assert set(FITS) == {row.name for row in CATALOG.values() if row.network is not None and row.head is not None}


@pytest.mark.parametrize("name", FITS)
def test_a_recipe_becomes_a_model_that_scores(name: str, data: Path, tmp_path: Path) -> None:
    row = CATALOG[name]
    size = SIZES.get(str(row.network), 32)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: {name}\nsize: {size}\nstart: random\n{FITS[name]}\nhead: {HEADS.get(name, HEAD)}\n")
    spec = Run(load_recipe(recipe), data, data / "scratch", tmp_path, "cpu").train()
    assert (spec.positive_class, spec.aggregation) == (row.positive_class, row.head)
    assert (spec.frame_calibration is not None) == row.frame_head
    model = open_model(str(tmp_path / name), threads=1, engines_root=tmp_path / "none")
    face = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    said = model.backbone.infer({"crops": normalise([face], spec.pixels)})
    assert said["features"].shape == (1, row.feature_dim)
    window = {"features": np.tile(said["features"][:, None], (1, 20, 1)), "mask": np.ones((1, 20), np.float32)}
    probability = fake_probability(model.head.infer(window)["logit"], spec.calibration, spec.positive_class)
    assert 0 <= float(probability[0, 0]) <= 1
    assert "val_window_auc" in spec.measured
