"""The fast depthwise layer: the same function and the same gradients as the one it stands for."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import torch
from torch import Tensor, nn

from engines.models.efficientnet_lite import FrameClassifier
from engines.training.depthwise import DepthwiseConv2d, with_fast_depthwise

BFLOAT16_STEP = 2.0**-8


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [6, 9, 14])
def test_values_and_gradients_are_those_of_the_plain_layer(size: int, stride: int, side: int) -> None:
    torch.manual_seed(size * 100 + side)
    plain = nn.Conv2d(8, 8, size, stride, size // 2, groups=8, bias=False)
    plain.weight.data = plain.weight.data.bfloat16().float()
    x = torch.randn(3, 8, side, side).bfloat16().float()
    wanted, given = _answers(plain, x), _answers(DepthwiseConv2d.sharing(plain), x)
    for one, other in zip(wanted, given, strict=True):
        assert one.shape == other.shape
        assert float((one - other).norm() / one.norm()) < BFLOAT16_STEP


def test_a_network_keeps_its_parameters_and_their_names() -> None:
    model = FrameClassifier()
    before = dict(model.named_parameters())
    with_fast_depthwise(model)
    after = dict(model.named_parameters())
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)


def test_every_depthwise_layer_of_the_network_is_exchanged_and_no_other() -> None:
    model = with_fast_depthwise(FrameClassifier())
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert isinstance(layer, DepthwiseConv2d) == name.endswith("_depthwise_conv")


def _answers(layer: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """The layer's output and the gradients of its input and weight, for a fixed gradient of the output."""
    x = x.clone().requires_grad_()
    y = layer(x).float()
    seed = torch.linspace(-1, 1, y.numel()).reshape(y.shape).bfloat16().float()
    return y.detach(), *torch.autograd.grad(y, (x, *layer.parameters()), seed)
