"""Published PyTorch layouts, forged from our own networks: every one is told apart, mapped, and answers alike."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from torch import nn  # noqa: E402

from engines.checkpoints.origins import ORIGINS  # noqa: E402
from engines.checkpoints.parts import backbone_of, load_start, read_part  # noqa: E402
from engines.checkpoints.public import LAYOUTS, network_from_public  # noqa: E402
from engines.errors import CheckpointError  # noqa: E402
from engines.models.inception_v3 import InceptionV3  # noqa: E402
from engines.models.meso4 import Meso4  # noqa: E402
from engines.models.xception import Xception  # noqa: E402

HEADS = ("frame_head.weight", "frame_head.bias")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def xception():
    return stirred(Xception("cadene", frame_head=True))


@pytest.fixture(scope="module")
def inception():
    return stirred(InceptionV3("torchvision", frame_head=False))


@pytest.fixture(scope="module")
def port():
    """Meso4 as its ports compute: a norm for every two convolutions, no biases at them, two classes."""
    ours = stirred(Meso4("pytorch"))
    ours.bn2.load_state_dict(ours.bn1.state_dict())
    ours.bn4.load_state_dict(ours.bn3.state_dict())
    for number in (1, 2, 3, 4):
        nn.init.zeros_(getattr(ours, f"conv{number}").bias)
    return ours


def xception_files(xception):
    """Name of the layout -> tensors as its authors saved them."""
    body = {key: value for key, value in xception.state_dict().items() if not key.startswith("frame_head")}
    weight, bias = (xception.state_dict()[key] for key in HEADS)
    one = {"last_linear.weight": weight, "last_linear.bias": bias}
    two = {
        f"last_linear.{key}": value for key, value in zip(("weight", "bias"), two_classes(weight, bias), strict=True)
    }
    dropped = {key.replace("last_linear.", "last_linear.1."): value for key, value in two.items()}
    unused = {"adjust_channel.0.weight": torch.ones(512, 2048, 1, 1), "adjust_channel.1.running_mean": torch.ones(512)}
    return {
        "deepfakebench": prefixed("backbone.", body | two | unused),
        "faceforensics": prefixed("model.", body | dropped),
        "ispl": prefixed("net.xception.", body | one),
    }


def two_classes(weight, bias):
    """Real and fake, whose difference is the one logit."""
    return torch.cat([weight * 0.25, weight * 1.25]), torch.cat([bias * 0.25, bias * 1.25])


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("layout", ["deepfakebench", "faceforensics", "ispl"])
def test_a_published_xception_answers_with_one_logit_for_fake(xception, layout, tmp_path):
    torch.save(xception_files(xception)[layout], tmp_path / "model.pth")
    part = read_part(tmp_path / "model.pth")
    assert part.origin is ORIGINS[layout]
    crops = torch.rand(1, 3, 71, 71)
    with torch.inference_mode():
        torch.testing.assert_close(backbone_of(part, frame_head=True)(crops), xception(crops), rtol=1e-5, atol=1e-6)


def test_data_parallel_and_a_training_runs_wrapping_are_taken_off(xception):
    wrapped = prefixed("state_dict.module.", xception_files(xception)["deepfakebench"])
    assert network_from_public(wrapped).layout.origin == "deepfakebench"


def test_imagenet_weights_start_a_network_and_its_head_stays_fresh(xception, tmp_path):
    """Cadene's oldest file: pointwise kernels as matrices, ``fc`` of 1000 classes, no counters of batches."""
    old = {
        key: value[..., 0, 0] if "pointwise" in key else value
        for key, value in xception.state_dict().items()
        if not key.startswith("frame_head") and not key.endswith("num_batches_tracked")
    }
    torch.save(old | {"fc.weight": torch.ones(1000, 2048), "fc.bias": torch.ones(1000)}, tmp_path / "xception.pth")
    fresh = Xception("cadene", frame_head=True)
    before = fresh.frame_head.weight.clone()
    load_start(fresh, tmp_path / "xception.pth")
    crops = torch.rand(1, 3, 71, 71)
    with torch.inference_mode():
        torch.testing.assert_close(fresh.eval().forward_features(crops), xception.forward_features(crops))
    assert torch.equal(fresh.frame_head.weight, before)


def test_a_start_of_another_style_is_refused_and_nothing_is_loaded(xception, tmp_path):
    torch.save(xception_files(xception)["ispl"], tmp_path / "model.pth")
    fresh = Xception("keras", frame_head=True)
    before = fresh.conv1.weight.clone()
    with pytest.raises(CheckpointError, match="style cadene"):
        load_start(fresh, tmp_path / "model.pth")
    assert torch.equal(fresh.conv1.weight, before)


def test_torchvisions_inception_loses_its_classifiers(inception, tmp_path):
    extra = {"AuxLogits.conv0.conv.weight": torch.ones(128, 768, 1, 1), "AuxLogits.fc.weight": torch.ones(1000, 768)}
    extra |= {"fc.weight": torch.ones(1000, 2048), "fc.bias": torch.ones(1000)}
    torch.save(inception.state_dict() | extra, tmp_path / "inception.pth")
    part = read_part(tmp_path / "inception.pth")
    crops = torch.rand(1, 3, 75, 75)
    with torch.inference_mode():
        found = backbone_of(part, frame_head=False).forward_features(crops)
        torch.testing.assert_close(found, inception.forward_features(crops))
    with pytest.raises(CheckpointError, match="no classifier of one logit"):
        backbone_of(part, frame_head=True)


@pytest.mark.parametrize(("prefix", "origin"), [("backbone.", "deepfakebench-meso4"), ("", "mesonet-pytorch")])
def test_a_meso4_port_answers_as_it_does(port, tmp_path, prefix, origin):
    state = {key: value for key, value in port.state_dict().items() if ".bias" not in key or key.startswith("bn")}
    theirs = {key: value for key, value in state.items() if key[:3] not in ("bn2", "bn4", "fra", "den")}
    theirs = {key.replace("bn3", "bn2"): value for key, value in theirs.items()}
    theirs |= {"fc1.weight": port.dense.weight, "fc1.bias": port.dense.bias}
    pair = two_classes(port.frame_head.weight.detach(), port.frame_head.bias.detach())
    theirs |= dict(zip(("fc2.weight", "fc2.bias"), pair, strict=True))
    torch.save(prefixed(prefix, theirs), tmp_path / "meso.pth")
    part = read_part(tmp_path / "meso.pth")
    crops = torch.rand(1, 3, 256, 256)
    assert part.origin is ORIGINS[origin]
    with torch.inference_mode():
        torch.testing.assert_close(backbone_of(part, frame_head=True)(crops), port(crops))


@pytest.mark.parametrize(
    ("origin", "size", "mean", "crop", "positive"),
    [
        ("deepfakebench", 256, 127.5, 1.3, "fake"),
        ("faceforensics", 299, 127.5, 1.3, "fake"),
        ("ispl", 224, 0.485 * 255, 1.0, "fake"),
        ("mesonet-pytorch", 256, 127.5, 1.0, "real"),
        ("keras-meso4", 256, 0.0, 1.0, "real"),
    ],
)
def test_an_origin_fixes_what_no_file_says(origin, size, mean, crop, positive):
    found = ORIGINS[origin]
    assert (found.pixels.size, found.pixels.crop_margin, found.positive_class) == (size, crop, positive)
    assert found.pixels.mean[0] == pytest.approx(mean)
    assert found.pixels.colour == "rgb"


def test_every_layout_has_an_origin():
    assert {layout.origin for layout in LAYOUTS} <= set(ORIGINS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("xception.conv2.weight"), "lacks conv2.weight"),
        (lambda state: state.update({"xception.block13.weight": torch.ones(1)}), "unknown block13.weight"),
        (
            lambda state: state.update({"xception.conv2.weight": torch.ones(64, 32, 5, 5)}),
            "conv2.weight is [64, 32, 5, 5]",
        ),
        (lambda state: state.update({"optimiser": torch.ones(1)}), "no layout known here"),
    ],
)
def test_a_file_that_is_almost_right_is_refused(xception, tmp_path, change, reason):
    state = {key.removeprefix("net."): value for key, value in xception_files(xception)["ispl"].items()}
    change(state)
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(CheckpointError) as caught:
        backbone_of(read_part(tmp_path / "model.pth"), frame_head=True)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def stirred(network):
    """Norms far from idle, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()
