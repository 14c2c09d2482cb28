"""A checkpoint as two backends on torch: the reference that engines are held to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.checkpoints.own import TrainedModel, load_checkpoint
from engines.export.graph import BackboneOutputs
from engines.runtime.ports import TensorSpec
from engines.runtime.torch_reference import Device, TorchBackend
from engines.spec import ModelSpec


@dataclass(frozen=True)
class Reference:
    """The halves of a model that it has, with the tensor names of its graphs."""

    backbone: TorchBackend | None
    head: TorchBackend | None


def open_reference(checkpoint: Path, spec: ModelSpec, device: Device = "cpu") -> Reference:
    """Raises CheckpointError, and RuntimeMissingError when torch has no such device."""
    return reference_of(load_checkpoint(checkpoint), spec, device)


def reference_of(model: TrainedModel, spec: ModelSpec, device: Device = "cpu") -> Reference:
    """Of networks that are in memory already; they are moved to the device."""
    return Reference(_backbone(model, spec, device), _head(model, spec, device))


def _backbone(model: TrainedModel, spec: ModelSpec, device: Device) -> TorchBackend | None:
    if model.backbone is None:
        return None
    size, width = spec.pixels.size, model.backbone.feature_dim
    outputs = [TensorSpec("features", (None, width))]
    if model.backbone.frame_head is not None:
        outputs.append(TensorSpec("frame_logit", (None, 1)))
    crops = TensorSpec("crops", (None, 3, size, size))
    return TorchBackend(BackboneOutputs(model.backbone), (crops,), tuple(outputs), device)


def _head(model: TrainedModel, spec: ModelSpec, device: Device) -> TorchBackend | None:
    if model.head is None:
        return None
    slots, width = spec.window.slots, model.head.feature_dim
    inputs = (TensorSpec("features", (None, slots, width)), TensorSpec("mask", (None, slots)))
    return TorchBackend(model.head, inputs, (TensorSpec("logit", (None, 1)),), device)
