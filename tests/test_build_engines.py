"""build_engines.py as a user runs it, on a tiny model: cached, proven, never half-built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import build_engines
from engines.catalog import BACKBONE_FILE, open_model
from engines.store import find_engine, key_for
from tests.engines.graphs import write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "tiny")
    return tmp_path / "tiny"


def build(model: Path, root: Path, *options: str) -> int:
    return build_engines.main(["--model", str(model), "--root", str(root), *options])


def engines(root: Path) -> list[Path]:
    return sorted(root.rglob("engine.onnx"))


def test_it_builds_both_graphs_with_their_manifests(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(model, tmp_path / "built", "--json") == 0
    manifests = json.loads(capsys.readouterr().out)
    assert [manifest["key"]["graph"] for manifest in manifests] == ["backbone.onnx", "head.onnx"]
    assert all(manifest["max_delta"] < 1e-4 and manifest["p50_ms"] > 0 for manifest in manifests)
    assert len(engines(tmp_path / "built")) == 2


def test_a_second_run_builds_nothing(model: Path, tmp_path: Path) -> None:
    build(model, tmp_path / "built")
    before = [path.stat().st_mtime_ns for path in engines(tmp_path / "built")]
    assert build(model, tmp_path / "built") == 0
    assert [path.stat().st_mtime_ns for path in engines(tmp_path / "built")] == before


def test_force_builds_again(model: Path, tmp_path: Path) -> None:
    build(model, tmp_path / "built")
    before = [path.stat().st_mtime_ns for path in engines(tmp_path / "built")]
    assert build(model, tmp_path / "built", "--force") == 0
    assert [path.stat().st_mtime_ns for path in engines(tmp_path / "built")] != before


def test_verify_says_what_is_missing_and_what_to_run(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(model, tmp_path / "built", "--verify") == 3
    assert "2 engine(s) missing or damaged: run build_engines.py" in capsys.readouterr().err
    build(model, tmp_path / "built")
    assert build(model, tmp_path / "built", "--verify") == 0


def test_a_damaged_engine_is_not_picked_up_and_is_built_again(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "built"
    build(model, root)
    engines(root)[0].write_bytes(b"not an engine")
    spec = open_model(str(model), engines_root=root).spec
    key = key_for(spec.name, model / BACKBONE_FILE, spec.files[BACKBONE_FILE])
    assert find_engine(root, key) is None
    assert build(model, root) == 0
    assert find_engine(root, key) is not None


def test_an_engine_of_other_weights_is_not_picked_up(model: Path, tmp_path: Path) -> None:
    build(model, tmp_path / "built")
    assert find_engine(tmp_path / "built", key_for("tiny", model / BACKBONE_FILE, "0" * 64)) is None


def test_corrupt_weights_leave_nothing_behind(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / BACKBONE_FILE).write_bytes(b"garbage")
    assert build(model, tmp_path / "built") == 3
    assert "truncated or was changed" in capsys.readouterr().err
    assert not engines(tmp_path / "built")


def test_a_graph_that_differs_from_its_source_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_engines, "_delta", lambda *_: 1.0)
    assert build(model, tmp_path / "built") == 3
    assert "parity: backbone.onnx differs by 1" in capsys.readouterr().err
    assert not engines(tmp_path / "built")
