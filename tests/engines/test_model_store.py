"""Where a model is looked for: a user's own first, then what is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.catalog import DEFAULT_MODEL, graphs_of, model_folder, models_here, open_model
from engines.errors import CheckpointError
from engines.model_store import SHIPPED, VARIABLE, find_model, own_folder, own_models
from tests.engines.graphs import write_model


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({VARIABLE: "/models"}, "/models"),
        ({VARIABLE: "", "XDG_DATA_HOME": "/data"}, "/data/unmask/models"),
        ({VARIABLE: "/models", "XDG_DATA_HOME": "/data"}, "/models"),
    ],
)
def test_the_store_is_where_the_environment_says(environment: dict[str, str], folder: str) -> None:
    assert own_models(environment) == Path(folder)


def test_without_a_word_from_the_environment_it_lies_in_the_home() -> None:
    assert own_models({}) == Path.home() / ".local" / "share" / "unmask" / "models"


def test_a_users_own_model_comes_before_the_shipped_one(store: Path) -> None:
    assert model_folder(DEFAULT_MODEL) == SHIPPED / DEFAULT_MODEL
    write_model(store / DEFAULT_MODEL, name=DEFAULT_MODEL)
    assert model_folder(DEFAULT_MODEL) == store / DEFAULT_MODEL
    assert [(name, place.owner) for name, place in models_here().items()] == [(DEFAULT_MODEL, "own")]
    assert open_model(DEFAULT_MODEL).spec.pixels.size == 8


def test_a_folder_without_a_spec_is_not_a_model(store: Path) -> None:
    (store / DEFAULT_MODEL).mkdir(parents=True)
    assert model_folder(DEFAULT_MODEL) == SHIPPED / DEFAULT_MODEL


def test_a_model_of_any_name_is_found_in_the_store(store: Path) -> None:
    write_model(store / "mine", name="mine")
    assert open_model("mine").spec.name == "mine"


def test_a_row_without_weights_says_how_to_get_them() -> None:
    with pytest.raises(CheckpointError) as caught:
        open_model("xception")
    assert str(caught.value) == (
        "no weights for xception here: import yours (unmask import FILE --as xception) "
        "or train it (unmask train configs/training/xception.yaml --data DIR --out DIR)"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inception-v3", "inception-v3 gives features only and cannot score by itself: use inception-gru"),
        ("gru-head", "gru-head reads features only and cannot score by itself: use inception-gru or xception-gru"),
    ],
)
@pytest.mark.parametrize("has_weights", [True, False])
def test_a_part_says_what_to_use_instead(store: Path, name: str, words: str, has_weights: bool) -> None:
    if has_weights:
        write_model(store / name, name=name)
    with pytest.raises(CheckpointError) as caught:
        open_model(name)
    assert str(caught.value) == words


def test_a_part_in_a_folder_is_told_by_its_spec(tmp_path: Path) -> None:
    spec = write_model(tmp_path, name="features-of-mine").model_copy(update={"aggregation": None})
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    with pytest.raises(CheckpointError, match="features-of-mine gives features only"):
        open_model(str(tmp_path))


@pytest.mark.parametrize("name", ["../lite0-gru", "", ".", "a/b", ".hidden", "/etc"])
def test_a_name_cannot_leave_the_store(store: Path, name: str) -> None:
    write_model(store.parent / "lite0-gru")
    assert find_model(name) is None
    with pytest.raises(ValueError, match="cannot be a model's name"):
        own_folder(name)


def test_a_part_has_the_graphs_that_it_names(tmp_path: Path) -> None:
    spec = write_model(tmp_path)
    assert graphs_of(spec) == ("backbone.onnx", "head.onnx")
    assert graphs_of(spec.model_copy(update={"files": {"head.onnx": ""}})) == ("head.onnx",)
    with pytest.raises(CheckpointError, match="no graph"):
        graphs_of(spec.model_copy(update={"files": {}}))
