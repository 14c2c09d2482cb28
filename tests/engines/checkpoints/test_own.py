"""Our checkpoints: exact or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engines.checkpoints.own import TrainedModel, load_checkpoint, save_checkpoint
from engines.errors import CheckpointError
from engines.models.efficientnet_lite import FEATURE_DIM, FrameClassifier
from engines.models.gru_head import GruHead

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("own") / "checkpoint.safetensors"
    save_checkpoint(path, TrainedModel(FrameClassifier().eval(), GruHead(FEATURE_DIM).eval()))
    return path


def spoilt(source: Path, folder: Path, change: Callable[[Tensors], object]) -> Path:
    tensors = load_file(source)
    change(tensors)
    path = folder / "spoilt.safetensors"
    save_file(tensors, path)
    return path


def test_a_saved_model_comes_back_as_it_was_stored(saved: Path, tmp_path: Path) -> None:
    first = load_checkpoint(saved)
    save_checkpoint(tmp_path / "again.safetensors", first)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()
    assert not first.backbone.training
    assert not first.head.training


def test_a_checkpoint_is_half_the_size_of_its_weights(saved: Path) -> None:
    assert 6e6 < saved.stat().st_size < 8e6


def test_norms_keep_their_precision(saved: Path) -> None:
    tensors = load_file(saved)
    assert tensors["backbone._bn0.running_var"].dtype == torch.float32
    assert tensors["backbone._conv_stem.weight"].dtype == torch.float16


def test_no_partial_file_is_left_behind(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint.safetensors"]


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*: restore it"):
        load_checkpoint(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 7, 1000, 1_000_000])
def test_a_truncated_file_is_refused(saved: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"not a whole \.safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("head.dense2.bias"), r"lacks 1 tensors, first head\.dense2\.bias"),
        (lambda tensors: tensors.update({"head.extra": torch.zeros(1)}), r"1 unknown tensors, first head\.extra"),
        (lambda tensors: tensors.update({"extra": torch.zeros(1)}), "1 unknown tensors, first extra"),
        (lambda tensors: tensors.update({"head.dense2.bias": torch.zeros(2)}), "of another model"),
        (lambda tensors: tensors.update({"head.dense2.bias": torch.zeros(1, dtype=torch.int64)}), "of another model"),
        (lambda tensors: tensors.update({"head.dense2.bias": torch.tensor([torch.nan])}), "NaN or infinity"),
        (lambda tensors: tensors.clear(), r"lacks \d+ tensors"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    saved: Path, tmp_path: Path, change: Callable[[Tensors], object], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(spoilt(saved, tmp_path, change))
    assert "\n" not in str(caught.value)
