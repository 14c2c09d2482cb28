"""Depthwise convolution with a backward pass that a CPU can afford.

oneDNN has fast bfloat16 kernels for depthwise convolutions going forward, and for the weights of 3 x 3 ones; two
gradients fall back to a reference loop that costs 5 to 25 times as much: that of the input under stride 2, and that of
5 x 5 weights. Both can be had from the fast kernels: the first is a forward convolution of the gradient spread out with
zeros; the second consists of four overlapping 3 x 3 gradients. ``python -m bench.training`` measures the gain.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_FAST = 3
"""Kernel size whose weight gradient is fast."""


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` for one filter a channel, odd kernels and same padding: bfloat16 inside, parameters as they are."""

    @classmethod
    def sharing(cls, conv: nn.Conv2d) -> DepthwiseConv2d:
        """The same layer on the very same parameters."""
        size, stride = conv.kernel_size[0], conv.stride[0]
        layer = cls(conv.in_channels, conv.out_channels, size, stride, size // 2, groups=conv.in_channels, bias=False)
        layer.weight = conv.weight
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, ceil(H / stride), ceil(W / stride)), bfloat16."""
        convolved: Tensor = _Depthwise.apply(x, self.weight, self.stride[0])  # type: ignore[no-untyped-call]
        return convolved


def with_fast_depthwise(model: nn.Module) -> nn.Module:
    """Exchange every depthwise convolution in ``model`` for a fast one, in place; names and parameters stay."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 and layer.bias is None:
                setattr(parent, name, DepthwiseConv2d.sharing(layer))
    return model


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            x, half = x.to(torch.bfloat16), weight.to(torch.bfloat16)
            ctx.save_for_backward(x, half)
            ctx.stride = stride
            return functional.conv2d(x, half, None, stride, half.shape[-1] // 2, groups=len(half))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        of_input = _input_gradient(gradient, x, weight, ctx.stride)
        return of_input, _weight_gradient(gradient, x, weight, ctx.stride), None


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    spread = gradient
    if stride > 1:
        spread = torch.zeros_like(x)
        spread[:, :, ::stride, ::stride] = gradient
    return functional.conv2d(spread, weight.flip(2, 3), None, 1, weight.shape[-1] // 2, groups=len(weight))


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """(C, 1, K, K) float32."""
    size = weight.shape[-1]
    if size <= _FAST:
        return _gradient_of_weight(gradient, x, weight, stride, size // 2).float()
    margin, reach = size // 2, [(length - 1) * stride + _FAST for length in gradient.shape[2:]]
    padded = functional.pad(x, (margin,) * 4).contiguous(memory_format=torch.channels_last)
    part, whole = weight[:, :, :_FAST, :_FAST].contiguous(), torch.empty(weight.shape)
    corners = range(0, size - _FAST + 1, _FAST - 1)  # neighbours share a row: an odd kernel is covered
    for top in corners:
        for left in corners:
            seen = padded[:, :, top : top + reach[0], left : left + reach[1]]
            seen = seen.contiguous(memory_format=torch.channels_last)
            found = _gradient_of_weight(gradient, seen, part, stride, 0)
            whole[:, :, top : top + _FAST, left : left + _FAST] = found
    return whole


def _gradient_of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight), [False, True, False]
    )[1]
    return found
