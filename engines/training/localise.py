"""The network while it is trained: whether a face is forged, and where.

Fakes differ from their reals in a part of the picture only. Telling the network which part is many more labels a
picture than one bit, and keeps it from explaining fakes by what lies around them. The branch is dropped afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.models.backbone import Backbone
from engines.training.errors import TrainingError


class LocalisingClassifier(nn.Module):
    """A classifier with, where asked for, a second, coarse answer: one logit a cell of its last feature map."""

    def __init__(self, classifier: Backbone, *, localises: bool = True) -> None:
        """Raises TrainingError when the classifier has no feature map to localise on."""
        super().__init__()
        if localises and not classifier.HAS_MAP:
            kind = type(classifier).__name__
            raise TrainingError(f"{kind} has no feature map to localise fakes on: set localisation to 0")
        self.classifier = classifier
        self.where = nn.Conv2d(classifier.feature_dim, 1, 1) if localises else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, 3, S, S) to (N,) logits of being fake and (N, G, G) logits of being changed there."""
        if self.where is None:
            return self.classifier(x)[:, 0], None
        features = self.classifier.feature_map(x)
        pooled = self.classifier.drop(features.mean((2, 3)))
        logits: Tensor = self.classifier.frame_head(pooled)  # type: ignore[misc]  # a network in training has one
        return logits[:, 0], self.where(features)[:, 0]


def localisation_loss(logits: Tensor, changed: Tensor) -> Tensor:
    """Mean binary cross entropy over the cells of which something is known; (N, G, G) each, NaN for unknown.

    Logits of a network with another grid are resampled to that of the maps.
    """
    if logits.shape != changed.shape:
        resampled = nn.functional.interpolate(logits[:, None], changed.shape[1:], mode="bilinear", align_corners=False)
        logits = resampled[:, 0]
    known = ~torch.isnan(changed)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, torch.nan_to_num(changed), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)
