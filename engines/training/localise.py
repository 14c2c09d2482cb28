"""The network while it is trained: whether a face is forged, and where.

Fakes differ from their reals in a part of the picture only. Telling the network which part is many more labels a
picture than one bit, and keeps it from explaining fakes by what lies around them. The branch is dropped afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.models.efficientnet_lite import FEATURE_DIM, FrameClassifier


class LocalisingClassifier(nn.Module):
    """A classifier with a second, coarse answer: one logit a cell of its last feature map."""

    def __init__(self, classifier: FrameClassifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.where = nn.Conv2d(FEATURE_DIM, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) to (N,) logits of being fake and (N, G, G) logits of being changed there."""
        features = self.classifier.feature_map(x)
        pooled = self.classifier.drop(features.mean((2, 3)))
        return self.classifier.frame_head(pooled)[:, 0], self.where(features)[:, 0]


def localisation_loss(logits: Tensor, changed: Tensor) -> Tensor:
    """Mean binary cross entropy over the cells of which something is known; (N, G, G) each, NaN for unknown."""
    known = ~torch.isnan(changed)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, torch.nan_to_num(changed), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)
