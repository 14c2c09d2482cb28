"""Meso4 (Afchar et al., "MesoNet: a Compact Facial Video Forgery Detection Network", 2018): four small convolutions.

Inputs are RGB scaled to 0-1, 256 px. The published weights say P(REAL): a high logit is real, which a spec records as
``positive_class``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.models.as_keras import keras_start
from engines.models.backbone import Backbone, checked_style

SIZE = 256
FEATURE_DIM = 16
DROPOUT = 0.5
LEAK = 0.1
EPSILONS = {"keras": 1e-3, "pytorch": 1e-5}


class Meso4(Backbone):
    """(N, 3, 256, 256) to 16 features and a logit: 28,073 parameters as Keras counts.

    Each convolution's ReLU comes before its norm. The flattened maps lie in torch's order (channel, row, column).
    Torch ports share one norm between two convolutions and have no convolution biases: an importer copies and zeroes.
    """

    STYLES = ("keras", "pytorch")
    HAS_MAP = False
    feature_dim = FEATURE_DIM
    frame_head: nn.Linear

    def __init__(self, style: str = "keras", size: int = SIZE) -> None:
        super().__init__()
        self.style, self.fixed_size = checked_style(style, self.STYLES), size
        for number, (inputs, outputs, kernel) in enumerate(((3, 8, 3), (8, 8, 5), (8, 16, 5), (16, 16, 5)), start=1):
            setattr(self, f"conv{number}", nn.Conv2d(inputs, outputs, kernel, padding="same"))
            setattr(self, f"bn{number}", nn.BatchNorm2d(outputs, EPSILONS[style], momentum=0.01))
        self.dense = nn.Linear(16 * (size // 32) ** 2, FEATURE_DIM)
        self.drop = nn.Dropout(DROPOUT)
        self.frame_head = nn.Linear(FEATURE_DIM, 1)
        keras_start(self)

    @classmethod
    def build(cls, style: str, *, frame_head: bool, size: int | None = None) -> Backbone:
        if not frame_head:
            raise ValueError("Meso4 comes with a frame head only")
        return cls(style, size or SIZE)

    def forward_features(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to the hidden layer, (N, 16)."""
        x = crops
        for number, pool in ((1, 2), (2, 2), (3, 2), (4, 4)):
            x = torch.relu(getattr(self, f"conv{number}")(x))
            x = nn.functional.max_pool2d(getattr(self, f"bn{number}")(x), pool)
        return nn.functional.leaky_relu(self.dense(self.drop(x.flatten(1))), LEAK)
