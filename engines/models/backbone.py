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

    SMALLEST: ClassVar[int] = 32
    """Side of the smallest input that its layers can shrink, in pixels."""
    HAS_MAP: ClassVar[bool] = True
    """Whether its features are the average of a feature map, which can say where."""

    feature_dim: int
    frame_head: nn.Linear | None
    """Features to one logit a crop; None where there are features only."""
    drop: nn.Module
    style: str = "keras"
    fixed_size: int | None = None
    """Side of the only input it takes, in pixels; None where any will do."""

    @classmethod
    def build(cls, style: str, *, frame_head: bool, size: int | None = None) -> Backbone:
        """A fresh network of that kind; ``size`` is for those of a fixed size, and other than their usual one.

        Raises ValueError when there is none of that kind.
        """
        if style != cls.STYLES[0] or not frame_head:
            raise ValueError(f"{cls.__name__} comes as {cls.STYLES[0]!r} with a frame head only")
        takes_any_size(size)
        return cls()

    def forward_features(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, F): the average of the feature map, where there is one."""
        return self.feature_map(crops).mean((2, 3))

    def feature_map(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, F, G, G): the features before they are pooled."""
        raise NotImplementedError

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, 1) logits, for training. Raises ValueError when there is no frame head."""
        if self.frame_head is None:
            raise ValueError(f"this {type(self).__name__} gives features only")
        logit: Tensor = self.frame_head(self.drop(self.forward_features(crops)))
        return logit


class StyledBackbone(Backbone):
    """One that comes in each of its styles, with a frame head or without, and takes pictures of any size."""

    @classmethod
    def build(cls, style: str, *, frame_head: bool, size: int | None = None) -> Backbone:
        takes_any_size(size)
        return cls(style, frame_head=frame_head)


def checked_style(style: str, known: tuple[str, ...]) -> str:
    """``style`` itself. Raises ValueError for an unknown one."""
    if style not in known:
        raise ValueError(f"no style {style!r}: use one of {', '.join(known)}")
    return style


def takes_any_size(size: int | None) -> None:
    """Raises ValueError when a size is asked of a network that is not built for one."""
    if size is not None:
        raise ValueError("it takes pictures of any size: name none")
