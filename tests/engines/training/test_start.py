"""What a fit begins with: anybody's weights, strictly, or one line that says why not."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from pathlib import Path

import torch

from engines.catalog import CATALOG, CHECKPOINT_FILE
from engines.checkpoints.own import TrainedModel
from engines.errors import EngineError
from engines.export.package import neutral_spec, write_package
from engines.models.cnn import SeedCnn
from engines.models.gru_head import mean_logit_head
from engines.models.meso4 import Meso4
from engines.models.xception import Xception
from engines.training.start import set_dropout, starting_network


def timm_file(path: Path) -> tuple[Path, Xception]:
    """Xception as ImageNet files name it: another style of norms, and a thousand classes."""
    torch.manual_seed(3)
    network = Xception("cadene", frame_head=False)
    state = network.state_dict() | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    torch.save(state, path)
    return path, network


def test_a_file_of_imagenet_weights_fills_all_but_the_frame_head(tmp_path: Path) -> None:
    path, given = timm_file(tmp_path / "xception.pth")
    network = starting_network(str(path), CATALOG["xception-gru"], 299)
    assert network.style == "cadene"
    assert network.frame_head is not None
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in given.state_dict().items())


def test_a_model_of_this_project_is_gone_on_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = SeedCnn(32)
    model = TrainedModel(given, mean_logit_head(given.frame_head))
    write_package(tmp_path / "mine", neutral_spec("mine", 32, of="seed-cnn"), model, half=False)
    network = starting_network(str(tmp_path / "mine"), CATALOG["seed-cnn"], 32)
    assert network.fixed_size == 32
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in given.state_dict().items())
    with pytest.raises(EngineError, match="takes 32 px, not 224"):
        starting_network(str(tmp_path / "mine"), CATALOG["seed-cnn"], 224)
    (tmp_path / "mine" / CHECKPOINT_FILE).write_bytes(b"junk")
    with pytest.raises(EngineError, match="not a whole"):
        starting_network(str(tmp_path / "mine"), CATALOG["seed-cnn"], 32)


def test_what_cannot_be_begun_with_is_one_line(tmp_path: Path) -> None:
    path, _ = timm_file(tmp_path / "xception.pth")
    for start, row, message in (
        ("imagenet", "xception", "give a file of torchvision's or timm's"),
        (str(path), "inception-gru", "holds xception, not inception-v3"),
        ("nowhere", "xception", "no model 'nowhere'"),
        ("lite0-gru", "meso4", "lite0-gru has another backbone"),
    ):
        with pytest.raises(EngineError, match=message) as caught:
            starting_network(start, CATALOG[row], CATALOG[row].pixels.size)
        assert "\n" not in str(caught.value)


def test_dropout_is_set_only_where_there_is_some() -> None:
    network = Meso4(size=32)
    set_dropout(network, None)
    assert isinstance(network.drop, torch.nn.Dropout)
    assert network.drop.p == 0.5
    set_dropout(network, 0.1)
    assert network.drop.p == 0.1
    network.drop = torch.nn.Identity()
    with pytest.raises(EngineError, match="set dropout to null"):
        set_dropout(network, 0.1)
