"""This project's own checkpoints: one ``.safetensors`` file that holds the backbone and the head.

Weights of two and more dimensions are stored as float16, the small rest (biases, norms, running statistics) as float32.
Nothing in such a file can execute, and a file that does not fit exactly is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor

from engines.errors import CheckpointError
from engines.models.efficientnet_lite import FEATURE_DIM, FrameClassifier
from engines.models.gru_head import GruHead

BACKBONE_PREFIX, HEAD_PREFIX = "backbone.", "head."
_REMEDY = "restore it (git checkout) or train it again"


@dataclass(frozen=True, repr=False)
class TrainedModel:
    """Both networks, in evaluation mode, float32."""

    backbone: FrameClassifier
    head: GruHead


def save_checkpoint(path: Path, model: TrainedModel) -> None:
    """Write both networks to ``path``; the file is replaced only once it is whole."""
    parts = {BACKBONE_PREFIX: model.backbone.state_dict(), HEAD_PREFIX: model.head.state_dict()}
    tensors = {prefix + key: _stored(value) for prefix, state in parts.items() for key, value in state.items()}
    partial = path.with_suffix(".partial")
    partial.write_bytes(bytes_from_tensors(tensors, {"format": "unmask-1"}))
    partial.replace(path)


def load_checkpoint(path: Path) -> TrainedModel:
    """Read both networks. Raises CheckpointError when the file is absent, damaged, or of another model."""
    stored = _read(path)
    model = TrainedModel(FrameClassifier(), GruHead(FEATURE_DIM))
    backbone = _fitting(path, stored, BACKBONE_PREFIX, model.backbone.state_dict())
    head = _fitting(path, stored, HEAD_PREFIX, model.head.state_dict())
    _refuse_extra(path, set(stored) - _keys(BACKBONE_PREFIX, backbone) - _keys(HEAD_PREFIX, head))
    model.backbone.load_state_dict(backbone)
    model.head.load_state_dict(head)
    model.backbone.eval()
    model.head.eval()
    return model


def _stored(value: Tensor) -> Tensor:
    """As written to the file: norms keep float32 because their variances underflow in float16."""
    half = value.is_floating_point() and value.ndim >= 2
    return value.detach().to(torch.float16 if half else value.dtype).contiguous().clone()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return tensors_from_bytes(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}: {_REMEDY}") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole .safetensors file ({error}): {_REMEDY}") from error


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
    value = found.to(like.dtype)
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"{path}: {key} holds NaN or infinity: {_REMEDY}")
    return value


def _keys(prefix: str, state: Mapping[str, Tensor]) -> set[str]:
    return {prefix + key for key in state}


def _refuse_extra(path: Path, extra: set[str]) -> None:
    if extra:
        raise CheckpointError(f"{path} has {len(extra)} unknown tensors, first {min(extra)}: {_REMEDY}")
