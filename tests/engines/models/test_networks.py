"""The catalog's networks: exact sizes, shapes at any size, names of the public files, and what their styles change."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from engines.models.as_keras import keras_parameter_count, same_max_pool  # noqa: E402
from engines.models.backbone import Backbone  # noqa: E402
from engines.models.cnn import SeedCnn, SeedCnnLarge  # noqa: E402
from engines.models.efficientnet_lite import FrameClassifier  # noqa: E402
from engines.models.gru_head import WINDOW_SLOTS, GruHead, MeanLogitHead, mean_logit_head  # noqa: E402
from engines.models.inception_v3 import InceptionV3  # noqa: E402
from engines.models.meso4 import Meso4  # noqa: E402
from engines.models.xception import Xception  # noqa: E402

COUNTS = [
    (SeedCnn, 51_619_585),
    (SeedCnnLarge, 205_932_673),
    (Xception, 20_863_529),
    (InceptionV3, 21_802_784),
    (Meso4, 28_073),
    (FrameClassifier, 3_414_305),
]
SMALL = [
    (SeedCnn, {"size": 32}, 32, 64),
    (SeedCnnLarge, {"size": 32}, 32, 64),
    (Meso4, {"size": 64}, 64, 16),
    (Xception, {}, 71, 2048),
    (Xception, {"style": "cadene"}, 96, 2048),
    (InceptionV3, {"frame_head": True}, 75, 2048),
    (InceptionV3, {"frame_head": True, "style": "torchvision"}, 96, 2048),
    (FrameClassifier, {}, 65, 1280),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(7)


@pytest.mark.parametrize(("network", "count"), COUNTS)
def test_a_network_has_exactly_the_parameters_that_keras_counts(network, count):
    with torch.device("meta"):
        assert keras_parameter_count(network()) == count


def test_a_head_has_exactly_the_parameters_that_keras_counts():
    with torch.device("meta"):
        assert keras_parameter_count(GruHead(2048)) == 99_873
        assert keras_parameter_count(GruHead(1280)) == 63_009
        assert keras_parameter_count(Xception(frame_head=False)) == 20_861_480


@pytest.mark.parametrize(("network", "options", "size", "features"), SMALL)
def test_a_network_keeps_the_contract(network, options, size, features):
    model = network(**options).eval()
    assert isinstance(model, Backbone)
    crops = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        found = model.forward_features(crops)
        assert found.shape == (2, features) == (2, model.feature_dim)
        torch.testing.assert_close(model(crops), model.frame_head(found))
    assert network.build(model.style, frame_head=True).style == model.style


@pytest.mark.parametrize("size", [224, 225])
def test_the_predecessors_networks_have_their_shapes_at_full_size(size):
    with torch.device("meta"):
        for model in (SeedCnn(size), SeedCnnLarge(size)):
            assert model.dense1.in_features == 401_408 == 128 * 56 * 56
            assert model(torch.zeros(1, 3, size, size)).shape == (1, 1)


@pytest.mark.parametrize("size", [299, 150, 100])
def test_the_large_networks_take_any_size(size):
    with torch.device("meta"):
        assert Xception()(torch.zeros(2, 3, size, size)).shape == (2, 1)
        assert InceptionV3().forward_features(torch.zeros(2, 3, size, size)).shape == (2, 2048)


def test_a_2x2_convolution_looks_right_and_down_as_in_keras():
    model = SeedCnnLarge(size=8).eval()
    pictures = torch.zeros(2, 3, 8, 8)
    pictures[1, :, 0, 0] = 1
    with torch.no_grad():
        seen = model.conv1(torch.nn.functional.pad(pictures, (0, 1, 0, 1)))
    assert seen.shape[2:] == (8, 8)
    changed = (seen[1] != seen[0]).any(0).nonzero().tolist()
    assert changed == [[0, 0]]


@pytest.mark.parametrize("side", [7, 8])
def test_same_pooling_pads_as_keras_does(side):
    """Against the definition: the total padding that gives ceil(side / 2), the odd one right and below."""
    x = torch.randn(1, 1, side, side + 1)
    padded = torch.nn.functional.pad(x, (*pads(side + 1), *pads(side)), value=float("-inf"))
    torch.testing.assert_close(same_max_pool(x), torch.nn.functional.max_pool2d(padded, 3, 2))


def pads(side):
    total = ((side + 1) // 2 - 1) * 2 + 3 - side
    return total // 2, total - total // 2


@pytest.mark.parametrize("network", [Xception, InceptionV3])
def test_styles_share_tensors_and_differ_in_numbers(network):
    first, second = (network(style).eval() for style in network.STYLES)
    second.load_state_dict(first.state_dict())
    crops = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        ours, theirs = first.forward_features(crops), second.forward_features(crops)
    assert (ours - theirs).abs().max() > 1e-3 * ours.abs().max()


def test_an_unknown_style_is_refused():
    for network in (Xception, InceptionV3, Meso4):
        with pytest.raises(ValueError, match="use one of"):
            network("imaginary")
    with pytest.raises(ValueError, match="'keras' with a frame head"):
        SeedCnn.build("cadene", frame_head=True)


def test_xception_bears_the_public_names():
    with torch.device("meta"):
        names = set(Xception().state_dict())
    public = ["conv1.weight", "bn1.running_var", "block1.rep.0.conv1.weight", "block1.rep.3.pointwise.weight"]
    public += ["block1.skip.weight", "block1.skipbn.bias", "block2.rep.1.conv1.weight", "block4.rep.8.running_mean"]
    public += ["block12.rep.4.pointwise.weight", "conv3.conv1.weight", "conv4.pointwise.weight", "bn4.weight"]
    assert set(public) <= names
    assert "block4.skip.weight" not in names


def test_a_blocks_first_relu_leaves_the_skip_as_it_came():
    block = Xception(frame_head=False).block4.eval()
    for norm in (layer for layer in block.rep if isinstance(layer, torch.nn.BatchNorm2d)):
        torch.nn.init.zeros_(norm.weight)
    x = -torch.rand(1, 728, 4, 4)
    with torch.inference_mode():
        torch.testing.assert_close(block(x.clone()), x)


def test_inception_bears_torchvisions_names_and_takes_its_factors():
    model = InceptionV3().eval()
    state = model.state_dict()
    public = ["Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch5x5_2.bn.weight", "Mixed_6e.branch7x7dbl_5.conv.weight"]
    public += ["Mixed_7a.branch7x7x3_4.bn.running_var", "Mixed_7c.branch3x3dbl_3b.bn.bias"]
    assert set(public) <= set(state)
    assert len([key for key in state if key.endswith(".conv.weight")]) == 94
    key = "Conv2d_1a_3x3.bn.weight"
    model.load_state_dict(state | {key: torch.full((32,), 2.0)})
    assert key not in dict(model.named_parameters())
    x = torch.randn(1, 32, 3, 3)
    with torch.inference_mode():
        torch.testing.assert_close(model.Conv2d_1a_3x3.bn(x), 2 * x / (1 + 1e-3) ** 0.5)


def test_features_alone_have_no_logit():
    with torch.device("meta"), pytest.raises(ValueError, match="features only"):
        InceptionV3()(torch.zeros(1, 3, 96, 96))


def test_the_mean_head_averages_the_frame_logits_of_filled_slots():
    classifier = Meso4(size=64).eval()
    head = mean_logit_head(classifier.frame_head).eval()
    features, mask = torch.randn(3, WINDOW_SLOTS, 16), torch.ones(3, WINDOW_SLOTS)
    mask[1, 5:], mask[2] = 0, 0
    features[1, 5:], features[2] = float("nan"), float("inf")
    with torch.inference_mode():
        logits, each = head(features, mask), classifier.frame_head(features)
    torch.testing.assert_close(logits[0], each[0].mean(0))
    torch.testing.assert_close(logits[1], each[1, :5].mean(0))
    torch.testing.assert_close(logits[2], classifier.frame_head.bias)


def test_the_heads_know_their_feature_length():
    assert (GruHead(12).feature_dim, MeanLogitHead(12).feature_dim) == (12, 12)
