"""Published PyTorch detectors and ImageNet weights to this project's networks, told apart by their tensors' names.

Sources of the layouts: DeepfakeBench (SCLBD/DeepfakeBench), FaceForensics++ (ondyari/FaceForensics), ISPL
(polimi-ispl/icpr2020dfdc), cadene's pretrained-models and timm, torchvision, MesoNet's PyTorch port (HongguLiu).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engines.errors import CheckpointError
from engines.models.backbone import Backbone
from engines.models.inception_v3 import InceptionV3
from engines.models.meso4 import Meso4
from engines.models.xception import Xception

State = dict[str, Tensor]
CLASSIFIERS = ("last_linear", "fc", "classifier", "head.fc", "fc2")
"""What public networks call their last layer; within a Sequential it is the member with weights."""
UNUSED = re.compile(r"^(AuxLogits|aux)\.|^adjust_channel\.|\.num_batches_tracked$")
"""Parts that a detector's answer doesn't use."""
WRAPPERS = ("state_dict.", "model_state_dict.", "net.", "module.", "model_state.")
"""What training runs put around a network's own names, outermost first."""


@dataclass(frozen=True)
class Layout:
    """One published family's way of naming."""

    origin: str
    """Key of ORIGINS (engines/checkpoints/origins.py)."""
    prefix: str
    """In front of every name."""
    network: str
    """Catalog name."""
    mark: str
    """A name, without prefix, that only this network has."""


LAYOUTS = (
    Layout("deepfakebench", "backbone.", "xception", "block12.skipbn.weight"),
    Layout("faceforensics", "model.", "xception", "block12.skipbn.weight"),
    Layout("ispl", "xception.", "xception", "block12.skipbn.weight"),
    Layout("cadene", "", "xception", "block12.skipbn.weight"),
    Layout("torchvision", "", "inception-v3", "Mixed_7c.branch3x3dbl_3b.conv.weight"),
    Layout("deepfakebench-meso4", "backbone.", "meso4", "conv4.weight"),
    Layout("mesonet-pytorch", "", "meso4", "conv4.weight"),
)
"""Tried in this order."""
BACKBONES: dict[str, tuple[type[Backbone], str]] = {
    "xception": (Xception, "cadene"),
    "inception-v3": (InceptionV3, "torchvision"),
    "meso4": (Meso4, "pytorch"),
}
"""Network and the style of its published PyTorch weights."""


@dataclass(frozen=True, repr=False)
class PublicNetwork:
    """A recognised file, its tensors under this project's names."""

    layout: Layout
    style: str
    state: State
    """The frame head's tensors are missing where the classifier has neither one logit nor real and fake."""
    classes: int
    """Outputs of the classifier; 0 without one."""


def network_from_public(tensors: Mapping[str, Tensor]) -> PublicNetwork:
    """Recognise the layout. Raises CheckpointError, which says what the names look like, when it is none of them."""
    state = _unwrapped(tensors)
    for layout in LAYOUTS:
        if all(name.startswith(layout.prefix) for name in state) and layout.prefix + layout.mark in state:
            return _network(layout, {name.removeprefix(layout.prefix): value for name, value in state.items()})
    names = sorted(state)
    raise CheckpointError(
        f"has {len(names)} tensors of no layout known here, such as {names[0][:60]} and {names[-1][:60]}: "
        f"known are {', '.join(layout.origin for layout in LAYOUTS)}"
    )


def _unwrapped(tensors: Mapping[str, Tensor]) -> State:
    state = dict(tensors)
    for wrapper in WRAPPERS:
        inner = {name.removeprefix(wrapper): value for name, value in state.items() if name.startswith(wrapper)}
        if inner and (len(inner) == len(state) or wrapper != "module."):
            state = inner
    return state


def _network(layout: Layout, state: State) -> PublicNetwork:
    body = {name: value for name, value in state.items() if not UNUSED.search(name)}
    classifier = {name: body.pop(name) for name in list(body) if name.startswith(tuple(f"{c}." for c in CLASSIFIERS))}
    classes = max((len(value) for value in classifier.values() if value.ndim), default=0)
    network, style = BACKBONES[layout.network]
    ours = _meso4(body) if layout.network == "meso4" else {key: _square(key, value) for key, value in body.items()}
    ours |= _counters(network.build(style, frame_head=True)) | _frame_head(classifier, classes)
    return PublicNetwork(layout, style, ours, classes)


def _square(name: str, value: Tensor) -> Tensor:
    """Files from before torch 0.4 keep a pointwise kernel as a matrix."""
    return value[..., None, None] if name.endswith("pointwise.weight") and value.ndim == 2 else value


def _counters(network: nn.Module) -> State:
    """Norms' counters of batches: nothing that is evaluated uses them, and old files lack them."""
    return {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}


def _frame_head(classifier: State, classes: int) -> State:
    """One logit that is high for fake: itself, or fake's minus real's, whose sigmoid is their softmax."""
    weights = [value for value in classifier.values() if value.ndim == 2]
    biases = [value for value in classifier.values() if value.ndim == 1]
    if classes not in (1, 2):
        return {}
    if len(weights) != 1 or len(biases) != 1 or len(weights[0]) != len(biases[0]):
        raise CheckpointError("has a classifier of more than one layer: only a single one is known here")
    weight, bias = weights[0], biases[0]
    if classes == 2:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    return {"frame_head.weight": weight, "frame_head.bias": bias}


def _meso4(body: State) -> State:
    """Ports share a norm between two convolutions, have no biases there, and call the hidden layer ``fc1``."""
    names = {"fc1.weight": "dense.weight", "fc1.bias": "dense.bias"}
    ours = {names.get(name, name): value for name, value in body.items() if not name.startswith("bn")}
    for number, shared in ((1, "bn1"), (2, "bn1"), (3, "bn2"), (4, "bn2")):
        ours |= {
            name.replace(shared, f"bn{number}"): value for name, value in body.items() if name.startswith(f"{shared}.")
        }
        kernel = ours.get(f"conv{number}.weight")
        if kernel is not None and f"conv{number}.bias" not in ours:
            ours[f"conv{number}.bias"] = torch.zeros(len(kernel))
    return ours
