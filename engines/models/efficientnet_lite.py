"""EfficientNet-lite0 (Tan & Le 2019; the ``lite`` variant has neither swish nor squeeze-excite), as face features.

Submodules bear the names of the public PyTorch checkpoints, so their weights load by key. Inputs are RGB on the 0-255
scale, normalised as ``(x - 127) / 128`` (TensorFlow's convention for the lite family).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engines.models.backbone import Backbone

FEATURE_DIM = 1280
PIXEL_MEAN = (127.0, 127.0, 127.0)
PIXEL_STD = (128.0, 128.0, 128.0)
BACKBONE_PARAMETERS = 3_371_008
"""Trainable numbers without a classifier."""


@dataclass(frozen=True)
class Stage:
    """A run of equal blocks; only its first one changes stride and width."""

    expansion: int
    channels: int
    blocks: int
    kernel: int
    stride: int


STEM_CHANNELS = 32
STAGES = (
    Stage(1, 16, 1, 3, 1),
    Stage(6, 24, 2, 3, 2),
    Stage(6, 40, 2, 5, 2),
    Stage(6, 80, 3, 3, 2),
    Stage(6, 112, 3, 5, 1),
    Stage(6, 192, 4, 5, 2),
    Stage(6, 320, 1, 3, 1),
)


class EfficientNetLite0(nn.Module):
    """(N, 3, H, W) normalised RGB to (N, 1280) features; any H and W of at least 32."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, STEM_CHANNELS, 3, 2, 1, bias=False)
        self._bn0 = _norm(STEM_CHANNELS)
        self._blocks = nn.ModuleList(_blocks())
        self._conv_head = nn.Conv2d(STAGES[-1].channels, FEATURE_DIM, 1, bias=False)
        self._bn1 = _norm(FEATURE_DIM)

    def forward(self, x: Tensor) -> Tensor:
        """The globally average-pooled features."""
        return self.feature_map(x).mean((2, 3))

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1280, ceil(H / 32), ceil(W / 32)): the features before they are pooled."""
        x = _relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return _relu6(self._bn1(self._conv_head(x)))


class FrameClassifier(EfficientNetLite0, Backbone):
    """The backbone with a linear frame head: one logit a crop, high for fake."""

    feature_dim = FEATURE_DIM
    frame_head: nn.Linear

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.frame_head = nn.Linear(FEATURE_DIM, 1)

    def forward_features(self, crops: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1280)."""
        return EfficientNetLite0.forward(self, crops)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1) logits, for training."""
        return Backbone.forward(self, x)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (Sandler et al. 2018); adds its input where the shape allows."""

    def __init__(self, stage: Stage, in_channels: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * stage.expansion
        if stage.expansion > 1:
            self._expand_conv = nn.Conv2d(in_channels, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = nn.Conv2d(
            hidden, hidden, stage.kernel, stride, stage.kernel // 2, groups=hidden, bias=False
        )
        self._bn1 = _norm(hidden)
        self._project_conv = nn.Conv2d(hidden, stage.channels, 1, bias=False)
        self._bn2 = _norm(stage.channels)
        self.expands = stage.expansion > 1
        self.adds_input = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, stage.channels, H / stride, W / stride)."""
        y = _relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = _relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return torch.add(x, y) if self.adds_input else y


def _blocks() -> list[InvertedResidual]:
    blocks, channels = [], STEM_CHANNELS
    for stage in STAGES:
        for position in range(stage.blocks):
            blocks.append(InvertedResidual(stage, channels, stage.stride if position == 0 else 1))
            channels = stage.channels
    return blocks


def _relu6(x: Tensor) -> Tensor:
    """In place: its input is always a norm's fresh output, and training keeps one copy less."""
    return nn.functional.relu6(x, inplace=True)


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with TensorFlow's epsilon and momentum, which the public weights were trained with."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
