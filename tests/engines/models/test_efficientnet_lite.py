"""The backbone: its size, its names, its shapes."""

from __future__ import annotations

import pytest
import torch

from engines.models.efficientnet_lite import BACKBONE_PARAMETERS, FEATURE_DIM, EfficientNetLite0, FrameClassifier


def test_the_backbone_has_exactly_the_published_parameters() -> None:
    assert sum(parameter.numel() for parameter in EfficientNetLite0().parameters()) == BACKBONE_PARAMETERS


def test_the_frame_head_adds_one_linear_unit() -> None:
    assert sum(p.numel() for p in FrameClassifier().parameters()) == BACKBONE_PARAMETERS + FEATURE_DIM + 1


@pytest.mark.parametrize(("height", "width"), [(32, 32), (144, 144), (96, 160)])
def test_any_picture_size_gives_one_feature_vector(height: int, width: int) -> None:
    network = FrameClassifier().eval()
    with torch.inference_mode():
        crops = torch.randn(2, 3, height, width)
        features, logits = network.forward_features(crops), network(crops)
    assert features.shape == (2, FEATURE_DIM)
    assert logits.shape == (2, 1)
    assert bool(((features >= 0) & (features <= 6)).all())


def test_the_logit_is_the_frame_head_on_the_features() -> None:
    network = FrameClassifier().eval()
    crops = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(crops), network.frame_head(network.forward_features(crops)))


def test_a_crop_is_scored_alone_whatever_shares_its_batch() -> None:
    network = FrameClassifier().eval()
    crops = torch.randn(4, 3, 64, 64)
    with torch.inference_mode():
        together = network(crops)
        alone = torch.cat([network(crop[None]) for crop in crops])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_the_names_are_those_of_the_public_checkpoint() -> None:
    names = set(EfficientNetLite0().state_dict())
    assert {"_conv_stem.weight", "_bn0.running_var", "_conv_head.weight", "_bn1.bias"} <= names
    assert {"_blocks.0._depthwise_conv.weight", "_blocks.15._project_conv.weight", "_blocks.1._bn2.weight"} <= names
    assert "_blocks.0._expand_conv.weight" not in names  # the first block does not expand


def test_gradients_reach_the_first_layer() -> None:
    network = FrameClassifier().train()
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    gradient = network._conv_stem.weight.grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0
