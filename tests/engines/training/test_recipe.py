"""Recipes: the shipped one holds the numbers it was trained with; a typo is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engines.catalog import CATALOG
from engines.training.errors import TrainingError
from engines.training.recipe import BackboneRecipe, HeadRecipe, Optimiser, Recipe, Sampling, Validation, load_recipe

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "configs" / "training").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem.removesuffix("-ours")
    assert recipe.pixels.size >= recipe.backbone.size
    assert recipe.backbone.steps == recipe.backbone.draws // (2 * recipe.backbone.sampling.pairs)


def test_there_is_a_recipe_for_every_row_that_can_be_trained() -> None:
    rows = {row.name for row in CATALOG.values() if row.network is not None and row.head is not None}
    assert rows <= {path.stem for path in SHIPPED}


def test_the_page_explains_every_key() -> None:
    words = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "training.md").read_text()))
    named = {part for word in words for part in re.split(r"[^a-z0-9_]+", word)}
    models = (Recipe, BackboneRecipe, Sampling, Optimiser, Validation, HeadRecipe)
    assert {key for model in models for key in model.model_fields} - named == set()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: xception\nbackbone: {sise: 3}", r"backbone\.sise"),
        ("name: xception\nbackbone: {size: 3}", r"backbone\.size"),
        ("name: mine", "'mine' cannot be trained: use one of lite0-gru"),
        ("name: gru-head", "'gru-head' cannot be trained"),
        ("name: mine\nmodel: inception-v3", "'inception-v3' cannot be trained"),
        ("name: ../x\nmodel: xception", "name"),
        ("name: xception\nbackbone: {trainable: last}", r"backbone\.trainable"),
        ("name: xception\nbackbone: {accumulate: 99}", "accumulate is more"),
        ("name: xception\nbackbone: {sampling: {balance: shuffled}}", "set self_blended and swapped to 0"),
        ("name: xception\nbackbone: {validation: {patience: 2}}", "set every"),
        ("name: xception\nbackbone: {optimiser: {warmup: 0}}", "one-cycle rises"),
        ("seed: 1", "name"),
        ("name: [", "not YAML"),
        ("", "name"),
        ("- 1", "dict"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(TrainingError, match=message) as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert "\n" not in str(caught.value)


def test_an_absent_recipe_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="configs/training"):
        load_recipe(tmp_path / "none.yaml")
