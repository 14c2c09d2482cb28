"""The seams of GPU preprocessing: the few calls of CUDA that it makes, and backends that read device memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from engines.errors import InferenceError
from engines.preprocess import FaceView, Floats, Levels, Planes
from engines.runtime.ports import Array, Backend

Argument = np.uint64 | np.int32
"""Of a kernel: an address or a number."""


@dataclass(frozen=True, eq=False)
class Staging:
    """Page-locked host memory that the GPU can fetch from, or (mapped: Jetson) read in place."""

    memory: NDArray[np.uint8]
    """(size,)"""
    address: int | None
    """In the GPU's view when mapped; None when its content must be copied."""


class Device(Protocol):
    """One GPU and one stream on it, used by one thread at a time. Copies and launches only queue up.

    Every call raises InferenceError when CUDA refuses it.
    """

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes of device memory."""

    def free(self, address: int) -> None:
        """Give device memory back once the queue is done with it."""

    def staging(self, size: int) -> Staging:
        """Page-locked host memory of ``size`` bytes."""

    def release(self, staging: Staging) -> None: ...

    def copy_in(self, address: int, staging: Staging, size: int) -> None:
        """Queue a copy of the first ``size`` bytes; they must stay as they are until ``synchronise``."""

    def copy_out(self, staging: Staging, address: int, size: int) -> None:
        """Queue a copy back, there after ``synchronise``."""

    def launch(self, kernel: str, grid: tuple[int, int, int], arguments: Sequence[Argument]) -> None:
        """Queue a kernel of kernels/preprocess.cu on blocks of ``layout.BLOCK_WH``."""

    def synchronise(self) -> None:
        """Wait for all that is queued."""

    def free_bytes(self) -> int:
        """Of the GPU's memory."""

    def close(self) -> None:
        """Free everything; a second call does nothing."""


@dataclass(frozen=True)
class DeviceBatch:
    """Contiguous float32 in device memory."""

    address: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return 4 * math.prod(self.shape)


class Preprocessor(Protocol):
    """Makes network input in device memory; see ``preprocessor.GpuPreprocessor``, whose queue must be waited for."""

    def faces(self, views: Sequence[FaceView], size: int, levels: Levels) -> DeviceBatch: ...

    def letterbox(
        self, planes: Planes, inner_wh: tuple[int, int], canvas_wh: tuple[int, int], levels: Levels
    ) -> DeviceBatch: ...

    def wait(self) -> None: ...

    def to_host(self, batch: DeviceBatch) -> Floats: ...

    def forget(self) -> None: ...

    def close(self) -> None: ...


class InferDevice(Protocol):
    """The method ``infer_device`` of a backend that can read its inputs where the preprocessor left them."""

    def __call__(self, pointers: Mapping[str, int], batch: int) -> dict[str, Array]:
        """As ``infer``, of device addresses of contiguous inputs with ``batch`` rows, all written."""


def device_inference(backend: Backend) -> InferDevice | None:
    """The backend's ``infer_device``; None when it has none, or (a swapped one) has none just now."""
    return cast("InferDevice | None", getattr(backend, "infer_device", None))


def infer_prepared(backend: Backend, name: str, batch: DeviceBatch, preprocessor: Preprocessor) -> dict[str, Array]:
    """Run a graph of one input on a prepared batch, without a way over the host where the backend can.

    A runtime that fails or changes in this very call is asked again over the host: the batch still lies there.
    """
    infer = device_inference(backend)
    if infer is None or any(size is None for size in backend.inputs[0].shape[1:]):
        return backend.infer({name: preprocessor.to_host(batch)})
    preprocessor.wait()
    try:
        return infer({name: batch.address}, batch.shape[0])
    except InferenceError:
        if device_inference(backend) is not None:  # the runtime is the same: its failure is the caller's
            raise
        return backend.infer({name: preprocessor.to_host(batch)})
