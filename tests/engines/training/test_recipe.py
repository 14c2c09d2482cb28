"""Recipes: the shipped one holds the numbers it was trained with; a typo is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.training.errors import TrainingError
from engines.training.recipe import load_recipe

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "configs" / "training").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.backbone.steps == recipe.backbone.draws // (2 * recipe.backbone.sampling.pairs)


def test_there_is_a_recipe_for_the_default_model() -> None:
    assert "lite0-gru" in {path.stem for path in SHIPPED}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nbackbone: {sise: 3}", r"backbone\.sise"),
        ("name: x\nbackbone: {size: 3}", r"backbone\.size"),
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
