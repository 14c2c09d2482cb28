"""What a training run computes on, and networks on it in the place of an exported graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.models.backbone import Backbone
from engines.runtime.ports import Array, TensorSpec, check_inputs
from engines.training.errors import TrainingError

DeviceName = Literal["auto", "cpu", "cuda"]


def chosen_device(name: DeviceName) -> torch.device:
    """``auto`` takes a GPU where there is one. Raises TrainingError when the asked-for device is not there."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise TrainingError("torch sees no CUDA device here: use --device cpu, or install torch for CUDA")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def on_device(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """A copy on the device; to a GPU it is under way while the caller goes on."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


class TorchBackend:
    """A backbone with its frame head answering as its exported graph would: ``crops`` to ``features``, ``frame_logit``.

    In full precision, whatever it is trained in.
    """

    name = "torch"
    inputs = (TensorSpec("crops", (None, 3, None, None)),)

    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        self._backbone, self._device = backbone.to(device).eval(), device
        self.outputs = (TensorSpec("features", (None, backbone.feature_dim)), TensorSpec("frame_logit", (None, 1)))

    @torch.inference_mode()
    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run once. Raises InferenceError when the arrays do not fit."""
        check_inputs(self.inputs, arrays)
        features = self._backbone.forward_features(on_device(arrays["crops"], self._device))
        if self._backbone.frame_head is None:
            return {"features": features.cpu().numpy()}
        return {"features": features.cpu().numpy(), "frame_logit": self._backbone.frame_head(features).cpu().numpy()}

    def close(self) -> None:
        """Nothing is held."""
