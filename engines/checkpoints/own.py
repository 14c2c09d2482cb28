"""This project's own checkpoints: one ``.safetensors`` file that holds a backbone, a head, or both.

Weights of two and more dimensions are stored as float16 (or, where asked, as they are), the small rest (biases, norms,
running statistics) as float32. The file's metadata say which networks they belong to; a file without them is the first
kind there was, lite0 with a GRU head. Nothing in such a file can execute, and a file that does not fit exactly is
refused as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor, nn

from engines.catalog import CATALOG
from engines.checkpoints.networks import Head, network_name, new_backbone, new_head, row_networks
from engines.errors import CheckpointError
from engines.models.backbone import Backbone
from engines.models.gru_head import MeanLogitHead
from engines.whole_file import write_whole

NETWORKS_KEY = "unmask"
"""Of the only entry of the metadata, a JSON object: safetensors writes several entries in any order."""
BACKBONE_PREFIX, HEAD_PREFIX = "backbone.", "head."
FRAME_HEAD_KEY = "backbone.frame_head.weight"
FIRST_KIND = {"backbone": "lite0", "style": "keras", "head": "gru", "feature_dim": "1280"}
CATALOG_SIZES = {row.network: row.pixels.size for row in CATALOG.values()}
_REMEDY = "restore it (git checkout) or train it again"


@dataclass(frozen=True, repr=False)
class TrainedModel:
    """A model's networks; one read from a file is in evaluation mode, float32."""

    backbone: Backbone | None
    """None in a head alone."""
    head: Head | None
    """None in features alone."""


def fresh_model(name: str, style: str | None = None) -> TrainedModel:
    """The networks of a catalog row with their first weights. Raises CheckpointError for an unknown name or style."""
    if name not in CATALOG:
        raise CheckpointError(f"no model {name!r}: use one of {', '.join(sorted(CATALOG))}")
    return TrainedModel(*row_networks(CATALOG[name], style))


def save_checkpoint(path: Path, model: TrainedModel, *, half: bool = True) -> None:
    """Write the networks to ``path``; the file is replaced only once it is whole.

    ``half`` stores the large weights as float16. A mean of frame logits is not written: the frame head says it already.
    """
    parts = {BACKBONE_PREFIX: model.backbone, HEAD_PREFIX: _trained_head(model)}
    states = {prefix: network.state_dict() for prefix, network in parts.items() if network is not None}
    tensors = {prefix + key: _stored(value, half) for prefix, state in states.items() for key, value in state.items()}
    write_whole(path, bytes_from_tensors(tensors, {NETWORKS_KEY: json.dumps(_kind_of(model))}))


def load_checkpoint(path: Path, name: str | None = None) -> TrainedModel:
    """Read the networks; ``name`` insists on those of a catalog row.

    Raises CheckpointError when the file is absent, damaged, or of another model.
    """
    stored, kind = _read(path)
    model = _empty_model(path, stored, kind)
    if name is not None:
        _refuse_other(path, model, name)
    states = {
        prefix: _fitting(path, stored, prefix, network.state_dict())
        for prefix, network in ((BACKBONE_PREFIX, model.backbone), (HEAD_PREFIX, _trained_head(model)))
        if network is not None
    }
    _refuse_extra(path, set(stored) - {prefix + key for prefix, state in states.items() for key in state})
    return _filled(model, states)


def _kind_of(model: TrainedModel) -> dict[str, str]:
    """What the metadata say of the networks."""
    kind: dict[str, str] = {}
    if model.backbone is not None:
        kind |= {"backbone": network_name(model.backbone), "style": model.backbone.style, **_size_of(model.backbone)}
    if model.head is not None:
        head = "mean_logit" if isinstance(model.head, MeanLogitHead) else "gru"
        kind |= {"head": head, "feature_dim": str(model.head.feature_dim)}
    return kind


def _size_of(backbone: Backbone) -> dict[str, str]:
    """The input size of a network that takes only one, where that is not the usual one of its kind."""
    name, size = network_name(backbone), backbone.fixed_size
    if size is None or size == CATALOG_SIZES[name]:
        return {}
    return {"size": str(size)}


def _trained_head(model: TrainedModel) -> nn.Module | None:
    """The head with weights of its own. Raises CheckpointError when a mean is not that of the model's frame head."""
    if not isinstance(model.head, MeanLogitHead):
        return model.head
    own = None if model.backbone is None else model.backbone.frame_head
    mean = model.head.frame_head
    if own is None or not (_same(own.weight, mean.weight) and _same(own.bias, mean.bias)):
        raise CheckpointError("this mean_logit head is not of its backbone's frame head: take mean_logit_head(…) of it")
    return None


def _same(first: Tensor, second: Tensor) -> bool:
    return first.is_meta or torch.equal(first, second)


def _empty_model(path: Path, stored: Mapping[str, Tensor], kind: Mapping[str, str]) -> TrainedModel:
    """The networks that the metadata name, without memory for their weights."""
    try:
        with torch.device("meta"):
            backbone = None
            if "backbone" in kind:
                frame_head = FRAME_HEAD_KEY in stored
                size = _width(kind["size"]) if "size" in kind else None
                backbone = new_backbone(kind["backbone"], kind.get("style"), frame_head=frame_head, size=size)
            width = _width(kind.get("feature_dim", ""))
            if backbone is not None and "head" in kind and width != backbone.feature_dim:
                raise CheckpointError(f"a head over {width} features does not fit {kind['backbone']}")
            return TrainedModel(backbone, new_head(kind.get("head"), width, backbone))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}: {_REMEDY}") from None


def _width(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


def _refuse_other(path: Path, model: TrainedModel, name: str) -> None:
    row = CATALOG[name]
    found = (None if model.backbone is None else network_name(model.backbone), _kind_of(model).get("head"))
    if found != (row.network, row.head):
        parts = " with ".join(str(part) for part in found if part)
        raise CheckpointError(f"{path} holds {parts}, which is no {name}: give a checkpoint of {name}")


def _filled(model: TrainedModel, states: Mapping[str, Mapping[str, Tensor]]) -> TrainedModel:
    """The model with its weights, ready to judge."""
    backbone, head = model.backbone, model.head
    if backbone is not None:
        backbone.load_state_dict(dict(states[BACKBONE_PREFIX]), assign=True)
        backbone.eval()
    if isinstance(head, MeanLogitHead):
        head = new_head("mean_logit", head.feature_dim, backbone)
    elif head is not None:
        head.load_state_dict(dict(states[HEAD_PREFIX]), assign=True)
    return TrainedModel(backbone, None if head is None else head.eval())


def _stored(value: Tensor, half: bool) -> Tensor:
    """As written to the file: norms keep float32 because their variances underflow in float16."""
    shrinks = half and value.is_floating_point() and value.ndim >= 2
    return value.detach().to(torch.float16 if shrinks else value.dtype).contiguous().clone()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The file's tensors, and what its metadata say of the networks."""
    try:
        data = path.read_bytes()
        return tensors_from_bytes(data), _named_networks(data)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}: {_REMEDY}") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole .safetensors file ({error}): {_REMEDY}") from error


def _named_networks(data: bytes) -> dict[str, str]:
    """What the metadata of a whole file say. Raises ValueError when that is not what this module writes."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    named = json.loads(header.get("__metadata__", {}).get(NETWORKS_KEY, "null"))
    if named is None:
        return FIRST_KIND
    if not isinstance(named, dict) or not all(isinstance(value, str) for value in named.values()):
        raise ValueError("its metadata name no networks")
    return named


def _fitting(path: Path, stored: Mapping[str, Tensor], prefix: str, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The stored tensors under ``prefix``, in the network's own types. Raises CheckpointError unless all fit."""
    missing = sorted(prefix + key for key in wanted if prefix + key not in stored)
    if missing:
        raise CheckpointError(f"{path} lacks {len(missing)} tensors, first {missing[0]}: {_REMEDY}")
    return {key: _one(path, prefix + key, stored[prefix + key], like) for key, like in wanted.items()}


def _one(path: Path, key: str, found: Tensor, like: Tensor) -> Tensor:
    if found.shape != like.shape or found.is_floating_point() != like.is_floating_point():
        shapes = f"{found.dtype}{list(found.shape)}, not {list(like.shape)}"
        raise CheckpointError(f"{path}: {key} is {shapes}: this file is of another model; {_REMEDY}")
    value = found.to(like.dtype, copy=True)
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"{path}: {key} holds NaN or infinity: {_REMEDY}")
    return value


def _refuse_extra(path: Path, extra: set[str]) -> None:
    if extra:
        raise CheckpointError(f"{path} has {len(extra)} unknown tensors, first {min(extra)}: {_REMEDY}")
