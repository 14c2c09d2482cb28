"""The few calls of CUDA that running an engine makes, all of them from the one thread that owns the context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class HostBuffer:
    """Page-locked host memory."""

    memory: NDArray[np.uint8]
    """(size,)"""
    address: int | None
    """In the GPU's view where it is mapped (Jetson); None where it must be copied."""
    owner: Any = None
    """Keeps the memory alive."""


class Cuda(Protocol):
    """One context on one GPU. Copies and launches queue up on a stream; every call raises InferenceError on failure."""

    def stream(self) -> int:
        """Handle of a new stream."""

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes of device memory."""

    def free(self, address: int) -> None: ...

    def host(self, size: int) -> HostBuffer: ...

    def release(self, buffer: HostBuffer) -> None: ...

    def copy_in(self, address: int, buffer: HostBuffer, size: int, stream: int) -> None:
        """Queue a copy of the first ``size`` bytes; they must stay as they are until ``synchronise``."""

    def copy_out(self, buffer: HostBuffer, address: int, size: int, stream: int) -> None:
        """Queue a copy back, there after ``synchronise``."""

    def capture(self, stream: int, work: Callable[[], None]) -> int | None:
        """What ``work`` queues on ``stream`` as a graph, not run; None where it cannot be captured."""

    def launch(self, graph: int, stream: int) -> None:
        """Queue a captured graph."""

    def drop(self, graph: int) -> None:
        """Free a captured graph."""

    def synchronise(self, stream: int) -> None:
        """Wait for all that is queued on ``stream``."""

    def close(self) -> None:
        """Free the streams and let go of the context; a second call does nothing."""
