"""Networks run by torch itself: what engines are compared with, and never on the live path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from engines.errors import InferenceError, RuntimeMissingError
from engines.runtime.ports import Array, TensorSpec, check_inputs

Device = Literal["cpu", "cuda"]


class TorchBackend:
    """A network in evaluation mode that takes its inputs in order and gives its outputs in order."""

    def __init__(
        self,
        network: nn.Module,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        device: Device = "cpu",
    ) -> None:
        """The network is moved to the device. Raises RuntimeMissingError when torch has no such device."""
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeMissingError("torch finds no GPU: install its CUDA build and a driver, or use torch-cpu")
        self.name = f"torch-{device}"
        self.inputs = inputs
        self.outputs = outputs
        self._device = device
        self._network: nn.Module | None = network.eval().to(device)

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if self._network is None:
            raise InferenceError("the model was closed: load it again")
        check_inputs(self.inputs, arrays)
        try:
            values = self._run([arrays[spec.name] for spec in self.inputs], self._network)
        except RuntimeError as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InferenceError(f"torch failed: {first}; try another --backend") from error
        given = {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}
        check_inputs(self.outputs, given)
        return given

    def _run(self, arrays: list[Array], network: nn.Module) -> list[Array]:
        with torch.inference_mode(), _exact_float32():
            tensors = [torch.from_numpy(np.ascontiguousarray(values)).to(self._device) for values in arrays]
            answer = network(*tensors)
        parts: tuple[Tensor, ...] = (answer,) if isinstance(answer, Tensor) else tuple(answer)
        return [part.cpu().numpy() for part in parts]

    def close(self) -> None:
        self._network = None


def _exact_float32() -> Any:
    """cuDNN takes TensorFloat-32 by itself, which is no reference."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
