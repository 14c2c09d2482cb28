"""Every row of the catalog becomes engines of every CPU runtime, each held to its network on torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import build_engines
from engines.catalog import CATALOG
from engines.checkpoints.own import fresh_model
from engines.export.package import neutral_spec, write_package
from engines.runtime.processor import has_bf16
from engines.runtime.table import runtime

LARGE = {"seed-cnn-large": "824 MB of random weights", "xception-gru": "xception's", "inception-gru": "inception-v3's"}
"""Rows that are left out, and why: the video systems' parts are rows of their own."""
WAYS = [("onnxruntime-cpu", "fp32"), ("openvino-cpu", "fp32"), ("openvino-cpu", "bf16")]


@pytest.fixture(scope="module", params=[name for name in CATALOG if name not in LARGE])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = request.param
    place = tmp_path_factory.mktemp("rows") / name
    write_package(place, neutral_spec(name), fresh_model(name), half=False)
    return place


@pytest.mark.parametrize(("name", "precision"), WAYS, ids=lambda value: value)
def test_a_row_builds(
    name: str, precision: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if (missing := runtime(name).unavailable()) is not None:
        pytest.skip(missing)
    if precision == "bf16" and not has_bf16():
        pytest.skip("this processor has no bfloat16")
    options = ["--runtime", name, "--precision", precision, "--batch", "1", "--root", str(tmp_path), "--json"]
    assert build_engines.main(["--model", str(folder), *options]) == 0, capsys.readouterr().err
    manifests = json.loads(capsys.readouterr().out)
    assert manifests
    assert {manifest["parity"]["reference"] for manifest in manifests} == {"torch-cpu"}
    backbones = [manifest for manifest in manifests if manifest["key"]["graph"] == "backbone.onnx"]
    assert all(manifest["key"]["precision"] == precision for manifest in backbones)
