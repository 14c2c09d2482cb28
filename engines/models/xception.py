"""Xception (Chollet 2017): 36 convolutions, most of them separable, to 2048 features.

Submodules bear the names of the public PyTorch files (cadene's, which timm, FaceForensics++ and DeepfakeBench follow),
so their weights load by key. Two conventions differ in numbers only, and are a ``style``:

- ``keras``: the original. Norms' epsilon 1e-3, max-pools padded as ``same`` does.
- ``cadene``: the ports. Epsilon 1e-5, max-pools padded by one on every side.

In both, conv1 and conv2 are not padded, and a block's first ReLU is *not* in place: the skip sees the block's input as
it came (the ports replace that one ReLU by ``nn.ReLU(inplace=False)``). Inputs are RGB scaled to -1..1.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from engines.models.as_keras import keras_start, same_max_pool
from engines.models.backbone import StyledBackbone, checked_style

SIZE = 299
FEATURE_DIM = 2048
EPSILONS = {"keras": 1e-3, "cadene": 1e-5}
MIDDLE_BLOCKS = range(4, 12)


class Xception(StyledBackbone):
    """(N, 3, S, S) to 2048 features by global average, and a logit; any S of at least 71.

    20,863,529 parameters as Keras counts, with the frame head.
    """

    STYLES = ("keras", "cadene")
    feature_dim = FEATURE_DIM

    def __init__(self, style: str = "keras", *, frame_head: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.style = checked_style(style, self.STYLES)
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64)
        self.block1 = Block((64, 128, 128), style, starts_with_relu=False)
        self.block2 = Block((128, 256, 256), style)
        self.block3 = Block((256, 728, 728), style)
        for number in MIDDLE_BLOCKS:
            setattr(self, f"block{number}", Block((728, 728, 728, 728), style, shrinks=False))
        self.block12 = Block((728, 728, 1024), style)
        self.conv3, self.bn3 = SeparableConv2d(1024, 1536), nn.BatchNorm2d(1536)
        self.conv4, self.bn4 = SeparableConv2d(1536, FEATURE_DIM), nn.BatchNorm2d(FEATURE_DIM)
        self.drop = nn.Dropout(dropout)
        self.frame_head = nn.Linear(FEATURE_DIM, 1) if frame_head else None
        _set_norms(self, EPSILONS[style])
        keras_start(self)

    def feature_map(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, 2048, G, G), G about S / 32: the features before they are pooled, none negative."""
        x = _relu(self.bn1(self.conv1(crops)))
        x = _relu(self.bn2(self.conv2(x)))
        for number in range(1, 13):
            x = getattr(self, f"block{number}")(x)
        x = _relu(self.bn3(self.conv3(x)))
        return _relu(self.bn4(self.conv4(x)))


class SeparableConv2d(nn.Module):
    """A 3x3 filter on each channel, then a mix of the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        mixed: Tensor = self.pointwise(self.conv1(x))
        return mixed


class Block(nn.Module):
    """Separable convolutions with a skip around them; ``widths`` are the channels before, between and after."""

    def __init__(
        self, widths: tuple[int, ...], style: str, *, shrinks: bool = True, starts_with_relu: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.ReLU(inplace=bool(layers)), SeparableConv2d(inputs, outputs), nn.BatchNorm2d(outputs)]
        self.rep = nn.Sequential(*layers[not starts_with_relu :])
        self.shrinks, self.pads_same = shrinks, style == "keras"
        if shrinks:
            self.skip = nn.Conv2d(widths[0], widths[-1], 1, 2, bias=False)
            self.skipbn = nn.BatchNorm2d(widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(N, widths[0], H, W) to (N, widths[-1], H', W'): half as high and wide, rounded up, where it shrinks."""
        y: Tensor = self.rep(x)
        if not self.shrinks:
            return y + x
        y = same_max_pool(y) if self.pads_same else nn.functional.max_pool2d(y, 3, 2, 1)
        skipped: Tensor = self.skipbn(self.skip(x))
        return y + skipped


def _relu(x: Tensor) -> Tensor:
    """In place: its input is always a norm's fresh output."""
    return nn.functional.relu(x, inplace=True)


def _set_norms(network: nn.Module, epsilon: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = epsilon, 0.01
