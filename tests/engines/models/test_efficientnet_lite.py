"""EfficientNet-lite0: its numbers, its names, and that the public weights mean what they meant."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from engines.checkpoints.imagenet import imagenet_file, load_imagenet, read_imagenet  # noqa: E402
from engines.errors import CheckpointError  # noqa: E402
from engines.models.efficientnet_lite import (  # noqa: E402
    BACKBONE_PARAMETERS,
    FEATURE_DIM,
    PIXEL_MEAN,
    PIXEL_STD,
    EfficientNetLite0,
    FrameClassifier,
)

COFFEE, CATS = "coffee", "chelsea"
IMAGENET_CATS = {281, 282, 283, 284, 285}
IMAGENET_CUPS = {967, 968}  # espresso, cup


@pytest.fixture(scope="module")
def weights():
    torch.set_num_threads(1)
    try:
        return imagenet_file()
    except CheckpointError as error:
        pytest.skip(str(error))


def test_it_has_exactly_the_parameters_of_lite0_without_its_classifier():
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) == BACKBONE_PARAMETERS == 3_371_008


@pytest.mark.parametrize("size", [96, 144, 161])
def test_features_have_one_length_at_any_size(size):
    with torch.inference_mode():
        assert EfficientNetLite0().eval()(torch.zeros(2, 3, size, size)).shape == (2, FEATURE_DIM)


def test_the_frame_head_gives_one_logit_a_crop():
    model = FrameClassifier().eval()
    with torch.inference_mode():
        crops = torch.randn(3, 3, 96, 96)
        assert model(crops).shape == (3, 1)
        torch.testing.assert_close(model(crops), model.frame_head(model.forward_features(crops)))


def test_the_public_weights_fit_key_by_key(weights):
    model, public = FrameClassifier(), read_imagenet(weights)
    load_imagenet(model, weights)
    torch.testing.assert_close(model.state_dict()["_conv_head.weight"], public["_conv_head.weight"])
    assert set(public) - set(model.state_dict()) == {"_fc.weight", "_fc.bias"}


@pytest.mark.parametrize(("picture", "classes"), [(CATS, IMAGENET_CATS), (COFFEE, IMAGENET_CUPS)])
def test_the_public_weights_still_see_what_is_in_a_picture(weights, picture, classes):
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    model, public = FrameClassifier().eval(), read_imagenet(weights)
    load_imagenet(model, weights)
    with torch.inference_mode():
        scores = model.forward_features(network_input(getattr(data, picture)())) @ public["_fc.weight"].T
    assert int((scores + public["_fc.bias"]).argmax()) in classes


def test_weights_that_lack_a_tensor_are_refused(weights, tmp_path):
    public = read_imagenet(weights)
    del public["_conv_head.weight"]
    torch.save(public, tmp_path / "partial.pth")
    with pytest.raises(CheckpointError, match=r"_conv_head\.weight"):
        load_imagenet(FrameClassifier(), tmp_path / "partial.pth")


def test_a_refused_file_changes_nothing(weights, tmp_path):
    public = read_imagenet(weights) | {"_conv_stem.weight": torch.zeros(1)}
    torch.save(public, tmp_path / "wrong.pth")
    model = FrameClassifier()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="not EfficientNet-lite0"):
        load_imagenet(model, tmp_path / "wrong.pth")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_pickle_that_would_run_code_is_refused_unread(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"_conv_stem.weight": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(CheckpointError, match="cannot read"):
        read_imagenet(tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()


def network_input(rgb):
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = cv2.resize(rgb[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    normalised = (square.astype(np.float32) - PIXEL_MEAN) / PIXEL_STD
    return torch.from_numpy(normalised.transpose(2, 0, 1)[None].astype(np.float32))
