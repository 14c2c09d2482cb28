"""What is said of models, detectors and GPUs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import build_engines
from engines.catalog import CATALOG, DEFAULT_MODEL, HEAD_FILE, CatalogRow, open_model
from engines.engine_choice import Graph
from engines.model_store import VARIABLE
from engines.store import BUILT
from stream.doctor.finding import Status
from stream.doctor.scoring import (
    detector_finding,
    engine_finding,
    examine,
    gpu_finding,
    library_finding,
    model_findings,
    pack_finding,
    runtime_finding,
)
from tests.engines.graphs import write_model

ROW = replace(CATALOG[DEFAULT_MODEL], name="tiny", summary="a tiny model")


def test_a_whole_model_is_found_and_its_engines_can_be_built(tmp_path: Path) -> None:
    write_model(tmp_path)
    model, engines = model_findings(ROW, tmp_path, tmp_path / "built")
    assert model.status is Status.FOUND
    assert "a tiny model" in model.detail
    assert (engines.status, engines.mend) == (Status.ABSENT, "make engines")


def test_built_engines_are_found(tmp_path: Path) -> None:
    folder, root = tmp_path / "model", tmp_path / "built"
    write_model(folder, name="tiny")
    assert build_engines.main(["--model", str(folder), "--root", str(root), "--runtime", "onnxruntime", "--json"]) == 0
    model, engines = model_findings(ROW, folder, root)
    assert (model.status, engines.status) == (Status.FOUND, Status.FOUND)
    assert engines.detail == "built for this machine: onnxruntime-cpu fp32"


def test_one_engine_of_two_is_not_enough(tmp_path: Path) -> None:
    missing = Graph("tiny", "head.onnx", tmp_path / "head.onnx", "0" * 64)
    assert engine_finding("engines", [missing], tmp_path).status is Status.ABSENT


def test_a_truncated_graph_is_missing_with_the_command_that_restores_it(tmp_path: Path) -> None:
    write_model(tmp_path)
    graph = tmp_path / HEAD_FILE
    graph.write_bytes(graph.read_bytes()[:-1])
    (finding,) = model_findings(ROW, tmp_path, BUILT)
    assert finding.status is Status.MISSING
    assert HEAD_FILE in finding.detail
    assert finding.mend == f"git checkout -- {tmp_path}"


def test_a_model_that_is_not_there_is_missing(tmp_path: Path) -> None:
    (finding,) = model_findings(ROW, tmp_path / "nowhere", BUILT)
    assert finding.status is Status.MISSING
    assert "no model spec" in finding.detail


def test_a_users_own_damaged_model_is_not_looked_for_in_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    write_model(tmp_path / "meso4", name="meso4")
    (tmp_path / "meso4" / HEAD_FILE).write_bytes(b"")
    (finding,) = [found for found in examine() if found.what == "model meso4"]
    assert finding.status is Status.MISSING
    assert finding.mend.startswith("unmask import FILE --as meso4")


def test_rows_without_weights_are_no_fault() -> None:
    titles = [finding.what for finding in examine()]
    assert f"model {DEFAULT_MODEL}" in titles
    assert "model xception" not in titles


@pytest.mark.parametrize("row", [row for row in CATALOG.values() if row.folder.is_dir()], ids=lambda row: row.name)
def test_the_doctor_and_the_loader_agree_on_every_shipped_model(row: CatalogRow) -> None:
    finding = model_findings(row, row.folder, BUILT)[0]
    assert finding.status is Status.FOUND, f"{finding.detail}; {finding.mend}"
    open_model(row.name).close()


def test_the_default_detector_has_its_weights() -> None:
    finding = detector_finding("centerface")
    assert finding.status is Status.FOUND
    assert "centerface.onnx" in finding.detail


def test_a_detector_without_weights_says_what_to_give() -> None:
    finding = detector_finding("yunet")
    assert finding.status is Status.MISSING
    assert finding.detail
    assert finding.mend


def test_model_packs_are_listed_by_name(tmp_path: Path) -> None:
    (tmp_path / "buffalo_l").mkdir()
    (tmp_path / "buffalo_l.zip").touch()
    finding = pack_finding(tmp_path)
    assert (finding.status, finding.detail) == (Status.FOUND, "model packs: buffalo_l")


@pytest.mark.parametrize("exists", [True, False])
def test_no_model_pack_is_no_harm(tmp_path: Path, exists: bool) -> None:
    finding = pack_finding(tmp_path if exists else tmp_path / "nowhere")
    assert finding.status is Status.ABSENT
    assert "--detector scrfd" in finding.mend


def test_the_runtime_lists_what_runs_here_and_nothing_remote() -> None:
    finding = runtime_finding("1.20", ["CUDAExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"])
    assert "CUDA, CPU" in finding.detail
    assert "Azure" not in finding.detail


def test_gpus_are_named_and_their_absence_is_no_harm() -> None:
    assert gpu_finding(("Orin",)).detail == "Orin"
    assert gpu_finding(()).status is Status.ABSENT


@pytest.mark.parametrize(("has_gpu", "mend"), [(True, ".venv/bin/pip install -e '.[gpu]'"), (False, "")])
def test_a_gpu_library_is_worth_installing_only_beside_a_gpu(has_gpu: bool, mend: str) -> None:
    finding = library_finding("TensorRT", "no-such-package-here", has_gpu=has_gpu)
    assert (finding.status, finding.mend) == (Status.ABSENT, mend)


def test_an_installed_library_shows_its_version() -> None:
    finding = library_finding("NumPy", "numpy", has_gpu=False)
    assert finding.status is Status.FOUND
    assert finding.detail[0].isdigit()
