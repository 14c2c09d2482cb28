"""Anybody's file to one network of this project: a backbone or a temporal head, with what its origin says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from engines.catalog import NETWORKS
from engines.checkpoints.keras_file import looks_like_keras, read_keras
from engines.checkpoints.keras_import import KerasNetwork, network_from_keras
from engines.checkpoints.networks import new_backbone
from engines.checkpoints.origins import ORIGINS, Origin
from engines.checkpoints.public import network_from_public
from engines.checkpoints.torch_file import read_torch
from engines.errors import CheckpointError
from engines.models.backbone import Backbone
from engines.models.gru_head import GruHead
from engines.spec import PixelSpec

GRU_HEAD = "gru-head"
Network = TypeVar("Network", bound=nn.Module)
FRAME_HEAD = ("frame_head.weight", "frame_head.bias")


@dataclass(frozen=True, repr=False)
class Part:
    """One recognised file, nothing of it loaded into a network yet."""

    path: Path
    network: str
    """Of NETWORKS, or ``gru-head``."""
    style: str
    state: Mapping[str, Tensor]
    origin: Origin
    """With the size and scale that the file itself names, where it does."""
    slots: int | None = None
    """Of a temporal head's window, where the file says."""

    @property
    def has_frame_head(self) -> bool:
        return set(FRAME_HEAD) <= set(self.state)


def read_part(path: Path) -> Part:
    """Recognise a Keras or PyTorch file. Raises CheckpointError with one line that names the file and the reason."""
    try:
        if looks_like_keras(path):
            return _keras_part(path, network_from_keras(read_keras(path)))
        public = network_from_public(read_torch(path))
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{path} {error}") from None
    return Part(path, public.layout.network, public.style, public.state, ORIGINS[public.layout.origin])


def backbone_of(part: Part, *, frame_head: bool) -> Backbone:
    """The network with its weights, ready to judge. Raises CheckpointError unless every tensor fits."""
    if part.network not in NETWORKS:
        raise CheckpointError(f"{part.path} holds a {part.network}, not a backbone: give the image network's file")
    if frame_head and not part.has_frame_head:
        raise CheckpointError(
            f"{part.path} has no classifier of one logit, or of real and fake: give it as --backbone beside a head, "
            "or train one on it"
        )
    with torch.device("meta"):
        network = new_backbone(part.network, part.style, frame_head=frame_head)
    size = part.origin.pixels.size
    if network.fixed_size not in (None, size):
        raise CheckpointError(f"{part.path} takes {size} px; a {part.network} here takes {network.fixed_size} px")
    return _filled(network, part, () if frame_head else FRAME_HEAD)


def head_of(part: Part) -> GruHead:
    """The temporal head with its weights, ready to judge. Raises CheckpointError unless every tensor fits."""
    if part.network != GRU_HEAD:
        raise CheckpointError(f"{part.path} holds {part.network}, not a GRU head: give that as --backbone")
    with torch.device("meta"):
        head = GruHead(part.state["gru1.weight_ih_l0"].shape[1])
    return _filled(head, part, ())


def load_start(backbone: Backbone, path: Path) -> None:
    """Fill a network that is about to be trained from anybody's file, ImageNet's for one; its frame head stays fresh.

    Raises CheckpointError when the file is of another network or style, before anything is loaded.
    """
    part = read_part(path)
    found = backbone_of(part, frame_head=False)
    if type(found) is not type(backbone) or found.style != backbone.style:
        raise CheckpointError(
            f"{path} holds {part.network} in the style {found.style}: train a network of that kind and style"
        )
    backbone.load_state_dict(backbone.state_dict() | found.state_dict())


def _keras_part(path: Path, found: KerasNetwork) -> Part:
    key = found.name if found.name in ORIGINS else f"keras-{found.name}"
    origin = ORIGINS[key]
    slots = None
    if found.name == GRU_HEAD:
        slots = found.input_shape[0] if found.input_shape else None
    else:
        origin = replace(origin, pixels=_pixels(origin.pixels, found))
    return Part(path, found.name, "keras", found.state, origin, slots)


def _pixels(usual: PixelSpec, found: KerasNetwork) -> PixelSpec:
    """The origin's, but for a size and a Rescaling layer (``x * scale + offset``) that the file has."""
    known = {}
    if found.input_shape and found.input_shape[0]:
        known["size"] = found.input_shape[0]
    if found.rescaling is None:
        return usual.model_copy(update=known)
    scale, offset = found.rescaling
    return usual.model_copy(update={**known, "mean": (-offset / scale,) * 3, "std": (1 / scale,) * 3})


def _filled(network: Network, part: Part, left_out: tuple[str, ...]) -> Network:
    """The network, which is without memory yet, with the part's tensors but for those left out."""
    state = {key: value for key, value in part.state.items() if key not in left_out}
    wanted = network.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has an unknown {extra[0]}"
        raise CheckpointError(f"{part.path} is almost {part.network}, but {what}: give a whole file")
    wrong = next((key for key, like in wanted.items() if state[key].shape != like.shape), None)
    if wrong is not None:
        shapes = f"{list(state[wrong].shape)}, not {list(wanted[wrong].shape)}"
        raise CheckpointError(f"{part.path} is almost {part.network}, but its {wrong} is {shapes}")
    network.load_state_dict({key: value.to(wanted[key].dtype) for key, value in state.items()}, assign=True)
    return network.eval()
