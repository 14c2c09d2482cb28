"""``unmask models``: every row with its exact size, what is here of it, and what was measured."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from engines.catalog import CATALOG, DEFAULT_MODEL
from engines.model_store import VARIABLE
from stream.cli import main
from stream.models_table import model_rows, models_table
from tests.engines.graphs import write_model

KEYS = ["name", "kind", "summary", "parameters", "input_size", "features", "runtimes", "weights", "measured", "auc"]
KEYS += ["default", "problem"]
SIZES = {
    "seed-cnn": 51_619_585,
    "seed-cnn-large": 205_932_673,
    "xception": 20_863_529,
    "inception-v3": 21_802_784,
    "gru-head": 99_873,
    "meso4": 28_073,
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert main(["models", "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_json_has_every_row_with_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys)
    assert list(rows) == list(CATALOG)
    assert all(list(row) == KEYS for row in rows.values())
    assert {name: rows[name]["parameters"] for name in SIZES} == SIZES
    assert [name for name, row in rows.items() if row["default"]] == [DEFAULT_MODEL]
    assert rows["gru-head"]["input_size"] is None
    assert rows["xception-gru"]["features"] == 2048
    assert rows["meso4"]["runtimes"][-1] == "onnxruntime-cpu"


def test_the_default_is_shipped_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    row = printed(capsys)[DEFAULT_MODEL]
    assert row["weights"] == "shipped"
    assert isinstance(row["measured"], dict)
    assert row["auc"] == row["measured"]["val_frame_auc"]


def test_a_row_without_weights_has_no_numbers(store: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    row = printed(capsys)["xception"]
    assert (row["weights"], row["measured"], row["auc"], row["problem"]) == ("none", {}, None, None)


def test_a_users_own_weights_are_told_apart(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(store / "meso4", name="meso4")
    assert printed(capsys)["meso4"]["weights"] == "own"


def test_one_broken_model_hides_no_other(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(store / "meso4", name="meso4")
    (store / "meso4" / "spec.json").write_text("{")
    assert main(["models", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = {row["name"]: row for row in json.loads(out)}
    assert "bad model spec" in rows["meso4"]["problem"]
    assert err.startswith("unmask: bad model spec")
    assert rows[DEFAULT_MODEL]["auc"] > 0.85


def test_the_table_fits_a_plain_terminal() -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(models_table(model_rows()))
    lines = text.getvalue().splitlines()
    assert all(any(line.split()[:1] == [name] for line in lines) for name in CATALOG)
    assert "205,932,673" in text.getvalue()
    assert "…" not in text.getvalue()


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert f"default: {DEFAULT_MODEL}" in capsys.readouterr().out
