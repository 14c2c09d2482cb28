"""Inception v3 (Szegedy et al. 2016) without its classifier: 2048 features.

Submodules bear torchvision's names, so its files load by key once the classifiers are left out. Two conventions differ
in numbers only, and are a ``style``: an average pool's border counts the padding in ``torchvision``, and does not in
``keras``. Norms have no trained factor: ``bn.weight`` is a buffer of ones, which torchvision's files may fill. Inputs
are RGB scaled to -1..1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.models.as_keras import keras_start
from engines.models.backbone import StyledBackbone, checked_style

SIZE = 299
FEATURE_DIM = 2048
EPSILON = 1e-3
Kernel = tuple[int, int]


class InceptionV3(StyledBackbone):
    """(N, 3, S, S) to 2048 features by global average, and a logit where asked for; any S of at least 75.

    21,802,784 parameters as Keras counts, without a frame head.
    """

    STYLES = ("keras", "torchvision")
    SMALLEST = 75
    feature_dim = FEATURE_DIM

    def __init__(self, style: str = "keras", *, frame_head: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.style = checked_style(style, self.STYLES)
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, same=True)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.mixed = tuple(_add_mixed(self, style == "torchvision"))
        self.drop = nn.Dropout(dropout)
        self.frame_head = nn.Linear(FEATURE_DIM, 1) if frame_head else None
        keras_start(self)

    def feature_map(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, 2048, G, G), G = 8 at 299 px: the features before they are pooled, none negative."""
        x: Tensor = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(crops)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_max_pooled(x)))
        x = _max_pooled(x)
        for name in self.mixed:
            x = getattr(self, name)(x)
        return x


class FactorlessNorm(nn.BatchNorm2d):
    """Batch norm whose factor is fixed: a buffer, saved and loaded under its usual name, never trained or counted."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, EPSILON, momentum=0.01)
        del self.weight
        self.register_buffer("weight", torch.ones(channels))

    def reset_parameters(self) -> None:
        """Factor ones, offset and statistics as at the start."""
        self.reset_running_stats()
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)


class ConvNorm(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int | Kernel, *, stride: int = 1, same: bool = False) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if same else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = FactorlessNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H', W')."""
        return nn.functional.relu(self.bn(self.conv(x)), inplace=True)


class InceptionA(nn.Module):
    """1x1, 5x5, two 3x3, and an average; 35 x 35 maps at 299 px."""

    def __init__(self, inputs: int, pooled: int, counts_padding: bool) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 64, 1)
        self.branch5x5_1 = ConvNorm(inputs, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5, same=True)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, same=True)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, same=True)
        self.branch_pool = ConvNorm(inputs, pooled, 1)
        self.counts_padding = counts_padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 224 + pooled, H, W)."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(_averaged(x, self.counts_padding))
        return torch.cat([self.branch1x1(x), five, double, pooled], 1)


class InceptionB(nn.Module):
    """Half the size: 3x3, two 3x3, and the maximum."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvNorm(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, same=True)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 480 + inputs, H', W')."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, _max_pooled(x)], 1)


class InceptionC(nn.Module):
    """1x1, a 7x7 in two halves, two of them, and an average; always 768 wide."""

    def __init__(self, width: int, counts_padding: bool) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(768, 192, 1)
        self.branch7x7_1 = ConvNorm(768, width, 1)
        self.branch7x7_2 = ConvNorm(width, width, (1, 7), same=True)
        self.branch7x7_3 = ConvNorm(width, 192, (7, 1), same=True)
        self.branch7x7dbl_1 = ConvNorm(768, width, 1)
        self.branch7x7dbl_2 = ConvNorm(width, width, (7, 1), same=True)
        self.branch7x7dbl_3 = ConvNorm(width, width, (1, 7), same=True)
        self.branch7x7dbl_4 = ConvNorm(width, width, (7, 1), same=True)
        self.branch7x7dbl_5 = ConvNorm(width, 192, (1, 7), same=True)
        self.branch_pool = ConvNorm(768, 192, 1)
        self.counts_padding = counts_padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, 768, H, W) to the same."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(_averaged(x, self.counts_padding))
        return torch.cat([self.branch1x1(x), seven, double, pooled], 1)


class InceptionD(nn.Module):
    """Half the size again: 3x3, 7x7 with 3x3, and the maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNorm(768, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNorm(768, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7), same=True)
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1), same=True)
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 768, H, W) to (N, 1280, H', W')."""
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, _max_pooled(x)], 1)


class InceptionE(nn.Module):
    """1x1, a 3x3 and two 3x3 that end side by side in two halves, and an average."""

    def __init__(self, inputs: int, counts_padding: bool) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 320, 1)
        self.branch3x3_1 = ConvNorm(inputs, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3), same=True)
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1), same=True)
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, same=True)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3), same=True)
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1), same=True)
        self.branch_pool = ConvNorm(inputs, 192, 1)
        self.counts_padding = counts_padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 2048, H, W)."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        halves = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        halves += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        pooled = self.branch_pool(_averaged(x, self.counts_padding))
        return torch.cat([self.branch1x1(x), *halves, pooled], 1)


def _add_mixed(network: nn.Module, counts_padding: bool) -> list[str]:
    """Add the eleven mixed blocks under their public names, which are given in their order."""
    blocks: dict[str, nn.Module] = {
        "Mixed_5b": InceptionA(192, 32, counts_padding),
        "Mixed_5c": InceptionA(256, 64, counts_padding),
        "Mixed_5d": InceptionA(288, 64, counts_padding),
        "Mixed_6a": InceptionB(288),
        **{
            f"Mixed_6{letter}": InceptionC(width, counts_padding) for letter, width in zip("bcde", _WIDTHS, strict=True)
        },
        "Mixed_7a": InceptionD(),
        "Mixed_7b": InceptionE(1280, counts_padding),
        "Mixed_7c": InceptionE(2048, counts_padding),
    }
    for name, block in blocks.items():
        network.add_module(name, block)
    return list(blocks)


_WIDTHS = (128, 160, 160, 192)
"""Of the 7x7 branches of the four blocks in the middle."""


def _max_pooled(x: Tensor) -> Tensor:
    return nn.functional.max_pool2d(x, 3, 2)


def _averaged(x: Tensor, counts_padding: bool) -> Tensor:
    return nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=counts_padding)
