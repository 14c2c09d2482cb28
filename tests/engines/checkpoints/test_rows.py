"""Own checkpoints of every row: which networks a file holds is read from it, strictly."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from engines.catalog import CATALOG  # noqa: E402
from engines.checkpoints import own  # noqa: E402
from engines.checkpoints.networks import network_name, new_backbone, new_head  # noqa: E402
from engines.checkpoints.own import TrainedModel, fresh_model, load_checkpoint, save_checkpoint  # noqa: E402
from engines.errors import CheckpointError  # noqa: E402
from engines.models.as_keras import keras_parameter_count  # noqa: E402
from engines.models.cnn import SeedCnn  # noqa: E402
from engines.models.gru_head import GruHead, MeanLogitHead, mean_logit_head  # noqa: E402
from engines.models.inception_v3 import InceptionV3  # noqa: E402
from engines.models.meso4 import Meso4  # noqa: E402

LIGHT = ["meso4", "gru-head", "lite0-gru", "xception-gru"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(3)


@pytest.mark.parametrize("row", CATALOG.values(), ids=lambda row: row.name)
def test_a_rows_networks_are_what_it_says(row):
    with torch.device("meta"):
        model = fresh_model(row.name)
        trained = None if isinstance(model.head, MeanLogitHead) else model.head
        parts = [part for part in (model.backbone, trained) if part is not None]
        assert keras_parameter_count(*parts) == row.parameters
        assert {part.feature_dim for part in parts} == {row.feature_dim}
    if model.backbone is not None:
        assert (model.backbone.frame_head is not None) == row.frame_head
        assert network_name(model.backbone) == row.network


@pytest.mark.parametrize("name", LIGHT)
def test_a_row_comes_back_as_it_was(name, tmp_path):
    model, path = fresh_model(name), tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, half=False)
    loaded = load_checkpoint(path, name)
    for before, after in ((model.backbone, loaded.backbone), (model.head, loaded.head)):
        assert type(after) is type(before)
        if before is not None:
            assert not after.training
            assert same(before.state_dict(), after.state_dict())
            wanted = [key for key, value in before.named_parameters() if value.requires_grad]
            assert [key for key, value in after.named_parameters() if value.requires_grad] == wanted


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_style_and_an_extra_frame_head_are_kept(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    backbone = InceptionV3("torchvision", frame_head=True)
    save_checkpoint(path, TrainedModel(backbone, GruHead(2048)))
    loaded = load_checkpoint(path, "inception-gru").backbone
    assert loaded.style == "torchvision"
    assert loaded.frame_head is not None


def test_large_weights_take_two_bytes_unless_asked_otherwise(tmp_path):
    model = fresh_model("meso4")
    for half, kind in ((True, torch.float16), (False, torch.float32)):
        save_checkpoint(tmp_path / "x.safetensors", model, half=half)
        stored = load_file(tmp_path / "x.safetensors")
        assert stored["backbone.dense.weight"].dtype == kind
        assert stored["backbone.bn1.running_var"].dtype == torch.float32


def test_the_same_model_is_the_same_bytes(tmp_path):
    model = fresh_model("meso4")
    written = set()
    for number in range(4):
        save_checkpoint(tmp_path / f"{number}.safetensors", model)
        written.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(written) == 1


def test_a_mean_of_frame_logits_is_written_once_and_read_as_the_frame_heads(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, fresh_model("meso4"), half=False)
    assert not [key for key in load_file(path) if key.startswith("head.")]
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.head.frame_head.weight, loaded.backbone.frame_head.weight)


def test_a_mean_of_another_frame_head_is_refused(tmp_path):
    model = replace(fresh_model("meso4"), head=mean_logit_head(Meso4().frame_head))
    with pytest.raises(CheckpointError, match="not of its backbone's frame head"):
        save_checkpoint(tmp_path / "x.safetensors", model)
    assert not list(tmp_path.iterdir())


def test_a_file_of_the_first_kind_is_lite0_with_a_gru(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, fresh_model("lite0-gru"))
    save_file(load_file(path), path, {"format": "unmask-1"})
    assert network_name(load_checkpoint(path, "lite0-gru").backbone) == "lite0"


def test_a_file_of_another_row_is_refused_by_name(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, fresh_model("meso4"))
    with pytest.raises(CheckpointError, match="holds meso4 with mean_logit, which is no xception"):
        load_checkpoint(path, "xception")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"backbone": "builtins:eval"}, "no network 'builtins:eval'"),
        ({"backbone": "xception"}, "does not fit xception"),
        ({"style": "imaginary"}, "no style 'imaginary'"),
        ({"head": "transformer"}, "no head 'transformer'"),
        ({"head": "gru", "feature_dim": "9" * 30}, "does not fit meso4"),
        ({"head": "gru"}, "lacks"),
        ({"feature_dim": "64"}, "a head over 64 features does not fit"),
        ({"style": 3}, "name no networks"),
    ],
)
def test_metadata_that_lie_are_refused_in_one_line(tmp_path, change, reason):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, fresh_model("meso4"))
    with safe_open(path, "pt") as file:
        named = json.loads(file.metadata()[own.NETWORKS_KEY])
    save_file(load_file(path), path, {own.NETWORKS_KEY: json.dumps(named | change)})
    refused(path, reason)


@pytest.mark.parametrize("text", ["{", "[]", '"meso4"', "7"])
def test_metadata_that_are_no_object_are_refused(tmp_path, text):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, fresh_model("meso4"))
    save_file(load_file(path), path, {own.NETWORKS_KEY: text})
    refused(path, "not a whole .safetensors file")


def test_a_head_alone_may_not_ask_for_a_huge_input(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_file(
        {"head.x": torch.zeros(1)}, path, {own.NETWORKS_KEY: json.dumps({"head": "gru", "feature_dim": "9999999"})}
    )
    refused(path, "no head 'gru' over 9999999 features")


def refused(path, reason):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_outside_the_catalog_is_not_saved(tmp_path):
    class Mine(SeedCnn):
        pass

    with pytest.raises(CheckpointError, match="Mine is no network of the catalog"):
        save_checkpoint(tmp_path / "x.safetensors", TrainedModel(Mine(size=8), None))


def test_unknown_names_are_refused():
    with pytest.raises(CheckpointError, match="no model 'nix': use one of"):
        fresh_model("nix")
    with pytest.raises(CheckpointError, match="no network 'nix': use one of"):
        new_backbone("nix")
    with pytest.raises(CheckpointError, match="SeedCnn comes as 'keras' with a frame head only"):
        new_backbone("seed-cnn", frame_head=False)
    with pytest.raises(CheckpointError, match="mean_logit over a frame head"):
        new_head("mean_logit", 2048, InceptionV3())
