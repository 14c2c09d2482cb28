"""Which part of a network a fit may change: all of it, its last blocks, or its frame head alone."""

from __future__ import annotations

from torch import nn

from engines.models.backbone import Backbone
from engines.training.errors import TrainingError


def blocks_of(backbone: Backbone) -> list[list[nn.Module]]:
    """The layers with parameters, from input to output, without the frame head; a norm belongs to what it follows."""
    blocks: list[list[nn.Module]] = []
    for name, child in backbone.named_children():
        if name == "frame_head":
            continue
        for layer in child if isinstance(child, nn.ModuleList) else [child]:
            if isinstance(layer, nn.BatchNorm2d) and blocks:
                blocks[-1].append(layer)
            elif any(True for _ in layer.parameters()):
                blocks.append([layer])
    return blocks


def freeze(backbone: Backbone, trainable: str) -> tuple[nn.Module, ...]:
    """Stop gradients of all that is not ``trainable`` (see BackboneRecipe), and give it: its norms must stay in
    evaluation mode. Raises TrainingError when there are fewer blocks than asked for."""
    blocks = blocks_of(backbone)
    frozen = [layer for block in blocks[: _frozen_blocks(len(blocks), trainable)] for layer in block]
    for layer in frozen:
        layer.requires_grad_(False)
    return tuple(frozen)


def _frozen_blocks(count: int, trainable: str) -> int:
    if trainable == "all":
        return 0
    left = int(trainable.removeprefix("last:")) if trainable != "head" else 0
    if left > count:
        raise TrainingError(f"trainable: {trainable}, but the network has {count} blocks: use all")
    return count - left
