"""What a fit begins with: random weights, ImageNet's, anybody's file, or a model of this project."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from engines.catalog import CHECKPOINT_FILE, CatalogRow, model_folder
from engines.checkpoints.imagenet import imagenet_file, load_imagenet
from engines.checkpoints.networks import network_name, new_backbone
from engines.checkpoints.own import load_checkpoint
from engines.checkpoints.parts import load_start, read_part
from engines.models.backbone import Backbone
from engines.models.efficientnet_lite import FrameClassifier
from engines.training.errors import TrainingError

IMAGENET, RANDOM = "imagenet", "random"


def starting_network(start: str, row: CatalogRow, size: int) -> Backbone:
    """The row's network for pictures of ``size`` pixels, with a frame head, on the weights that ``start`` names.

    A part that they lack, such as the frame head of ImageNet's, is random. Raises EngineError.
    """
    if start == RANDOM:
        return _fresh(row, size)
    if start == IMAGENET:
        return _from_imagenet(row, size)
    path = Path(start).expanduser()
    return _from_file(path, row, size) if path.is_file() else _from_model(start, row, size)


def set_dropout(network: Backbone, dropout: float | None) -> None:
    """Before the frame head; None leaves the network's own. Raises TrainingError where there is none."""
    if dropout is None:
        return
    if not isinstance(network.drop, nn.Dropout):
        raise TrainingError(f"{network_name(network)} has no dropout before its frame head: set dropout to null")
    network.drop.p = dropout


def _fresh(row: CatalogRow, size: int, style: str | None = None) -> Backbone:
    network, name = new_backbone(str(row.network), style), str(row.network)
    if network.fixed_size not in (None, size):
        return new_backbone(name, style, size=size)
    return network


def _from_imagenet(row: CatalogRow, size: int) -> Backbone:
    network = _fresh(row, size)
    if not isinstance(network, FrameClassifier):
        raise TrainingError(
            f"start: no package brings ImageNet weights of {row.network}: "
            "give a file of torchvision's or timm's, or train from random"
        )
    load_imagenet(network, imagenet_file())
    return network


def _from_file(path: Path, row: CatalogRow, size: int) -> Backbone:
    part = read_part(path)
    if part.network != row.network:
        raise TrainingError(f"start: {path} holds {part.network}, not {row.network}: name another file")
    network = _fresh(row, size, part.style)
    load_start(network, path)
    return network


def _from_model(name: str, row: CatalogRow, size: int) -> Backbone:
    stored = load_checkpoint(model_folder(name) / CHECKPOINT_FILE).backbone
    if stored is None or network_name(stored) != row.network:
        raise TrainingError(f"start: {name} has another backbone: name a model with {row.network}")
    if stored.fixed_size not in (None, size):
        raise TrainingError(f"start: {name} takes {stored.fixed_size} px, not {size}: set every size to that")
    network = _fresh(row, size, stored.style)
    network.load_state_dict(network.state_dict() | stored.state_dict())
    return network
