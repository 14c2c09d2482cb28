"""The seam between a model's graph and whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import InferenceError

Array = NDArray[Any]


@dataclass(frozen=True)
class TensorSpec:
    """One named input or output of a graph."""

    name: str
    shape: tuple[int | None, ...]
    """None marks a dynamic dimension."""
    dtype: str = "float32"
    """NumPy name of the element type."""


class Backend(Protocol):
    """A loaded graph. Used by one thread at a time; outputs belong to the caller."""

    @property
    def name(self) -> str:
        """Runtime and device, from a closed set: ``onnxruntime-cpu``, ``scripted``, …"""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run once. Raises InferenceError when the arrays do not fit ``inputs`` or the runtime fails."""

    def close(self) -> None:
        """Free the graph; a second call does nothing."""


def check_inputs(specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> None:
    """Raise InferenceError unless names, ranks, fixed sizes and element types all match."""
    expected, given = {spec.name for spec in specs}, set(arrays)
    if expected != given:
        raise InferenceError(f"inputs are {sorted(expected)}, got {sorted(given)}: pass exactly the named arrays")
    for spec in specs:
        _check_one(spec, arrays[spec.name])


def _check_one(spec: TensorSpec, array: Array) -> None:
    fits = len(array.shape) == len(spec.shape) and all(
        wanted is None or wanted == actual for wanted, actual in zip(spec.shape, array.shape, strict=False)
    )
    if not fits or array.dtype != np.dtype(spec.dtype):
        wanted, given = f"{spec.dtype}{list(spec.shape)}", f"{array.dtype}{list(array.shape)}"
        raise InferenceError(f"{spec.name} must be {wanted}, got {given}: check the spec")
