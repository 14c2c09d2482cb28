"""Own checkpoints: they come back as they were, and anything else is refused whole, in one line."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from safetensors.torch import load_file, save_file  # noqa: E402

from engines.checkpoints.own import TrainedModel, load_checkpoint, save_checkpoint  # noqa: E402
from engines.errors import CheckpointError  # noqa: E402
from engines.models.efficientnet_lite import FEATURE_DIM, FrameClassifier  # noqa: E402
from engines.models.gru_head import GruHead  # noqa: E402

SOME_KEY = "head.dense2.weight"


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    torch.manual_seed(2)
    return TrainedModel(FrameClassifier(), GruHead(FEATURE_DIM))


@pytest.fixture
def path(model, tmp_path):
    save_checkpoint(tmp_path / "checkpoint.safetensors", model)
    return tmp_path / "checkpoint.safetensors"


def test_weights_come_back_to_float16_precision(model, path):
    loaded = load_checkpoint(path)
    for before, after in ((model.backbone, loaded.backbone), (model.head, loaded.head)):
        for key, value in before.state_dict().items():
            stored = value.half() if value.is_floating_point() and value.ndim >= 2 else value
            torch.testing.assert_close(after.state_dict()[key], stored.to(value.dtype), rtol=0, atol=0)


def test_loaded_networks_are_ready_to_judge(path):
    loaded = load_checkpoint(path)
    assert not loaded.backbone.training
    assert not loaded.head.training


def test_saving_what_was_loaded_changes_no_byte(path, tmp_path):
    save_checkpoint(tmp_path / "again.safetensors", load_checkpoint(path))
    assert load_file(tmp_path / "again.safetensors").keys() == load_file(path).keys()
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_checkpoint_is_small(path):
    assert path.stat().st_size < 8_000_000


def test_nothing_partial_is_left_beside_it(path):
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_absent_file_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*: restore it"):
        load_checkpoint(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, 5_000_000])
def test_a_truncated_file_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "not a whole .safetensors file")


def test_a_file_of_another_kind_is_refused(path):
    path.write_bytes(b"PK\x03\x04" * 500)
    refused(path, "not a whole .safetensors file")


def test_a_missing_tensor_is_named(path):
    rewrite(path, lambda tensors: tensors.pop(SOME_KEY))
    refused(path, f"lacks 1 tensors, first {SOME_KEY}")


def test_an_extra_tensor_is_named(path):
    rewrite(path, lambda tensors: tensors.update({"head.extra": torch.zeros(1)}))
    refused(path, "1 unknown tensors, first head.extra")


def test_a_tensor_of_another_shape_is_named(path):
    rewrite(path, lambda tensors: tensors.update({SOME_KEY: torch.zeros(1, 9)}))
    refused(path, SOME_KEY)


def test_a_tensor_of_another_kind_is_named(path):
    rewrite(path, lambda tensors: tensors.update({SOME_KEY: torch.zeros(1, 8, dtype=torch.int64)}))
    refused(path, SOME_KEY)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(path, poison):
    rewrite(path, lambda tensors: tensors[SOME_KEY].fill_(poison))
    refused(path, "NaN or infinity")


def rewrite(path, change):
    tensors = {key: value.clone() for key, value in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def refused(path, reason):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("restore it (git checkout) or train it again")
