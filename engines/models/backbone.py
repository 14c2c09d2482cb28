"""What every image network offers the rest of the house: features of a crop and, mostly, one logit of it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class Backbone(nn.Module):
    """(N, 3, S, S) crops, normalised as its spec says, to (N, F) features and (N, 1) logits.

    A subclass sets ``feature_dim``, ``frame_head`` and, where training drops features before it, ``drop``.
    """

    STYLES: ClassVar[tuple[str, ...]] = ("keras",)
    """Conventions its published weights come in, the first by default: they differ in numbers, not in tensors."""

    feature_dim: int
    frame_head: nn.Linear | None
    """Features to one logit a crop; None where there are features only."""
    drop: nn.Module
    style: str = "keras"
    fixed_size: int | None = None
    """Side of the only input it takes, in pixels; None where any will do."""

    @classmethod
    def build(cls, style: str, *, frame_head: bool) -> Backbone:
        """A fresh network of that kind. Raises ValueError when there is none of that kind."""
        if style != cls.STYLES[0] or not frame_head:
            raise ValueError(f"{cls.__name__} comes as {cls.STYLES[0]!r} with a frame head only")
        return cls()

    def forward_features(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, F)."""
        raise NotImplementedError

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, 1) logits, for training. Raises ValueError when there is no frame head."""
        if self.frame_head is None:
            raise ValueError(f"this {type(self).__name__} gives features only")
        logit: Tensor = self.frame_head(self.drop(self.forward_features(crops)))
        return logit


def checked_style(style: str, known: tuple[str, ...]) -> str:
    """``style`` itself. Raises ValueError for an unknown one."""
    if style not in known:
        raise ValueError(f"no style {style!r}: use one of {', '.join(known)}")
    return style
