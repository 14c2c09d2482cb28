"""pycuda.driver as far as we call it, by the names and signatures of its 2026.1: anything else is an AttributeError.

What needs a context refuses to work without one, as CUDA does.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import numpy as np


class FakePycuda:
    """One GPU of compute capability 8.7; ``calls`` are in order."""

    class Error(Exception):
        """As pycuda.driver.Error."""

    def __init__(self, *, integrated: bool = False) -> None:
        self.integrated = integrated
        self.calls: list[tuple[Any, ...]] = []
        self.pushed = 0
        self.live = 0
        self.fails = ""
        self.device_attribute = SimpleNamespace(INTEGRATED="integrated")
        self.host_alloc_flags = SimpleNamespace(PORTABLE=1, DEVICEMAP=2)
        self.Context = SimpleNamespace(pop=self._pop)

    def init(self) -> None:
        self.calls.append(("init",))

    def Device(self, ordinal: int) -> SimpleNamespace:  # noqa: N802 - pycuda's name
        context = SimpleNamespace(push=self._push)
        return SimpleNamespace(
            get_attribute=lambda name: int(self.integrated and name == "integrated"),
            compute_capability=lambda: (8, 7),
            retain_primary_context=lambda: self.calls.append(("retain", ordinal)) or context,
        )

    def get_driver_version(self) -> int:
        return 12060

    def mem_get_info(self) -> tuple[int, int]:
        self._work("mem_get_info")
        return 5, 8

    def mem_alloc(self, size: int) -> Memory:
        self._work("mem_alloc", size)
        return Memory(self, 4096 * len(self.calls))

    def pagelocked_empty(self, shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> np.ndarray[Any, Any]:
        assert order == "C"
        self._work("pagelocked_empty", shape, mem_flags)
        return np.asarray(Locked(self, np.zeros(shape, dtype)))

    def memcpy_htod_async(self, dest: int, src: np.ndarray[Any, Any], stream: Stream) -> None:
        self._work("htod", dest, src.nbytes, stream)

    def memcpy_dtoh_async(self, dest: np.ndarray[Any, Any], src: int, stream: Stream) -> None:
        assert dest.flags.writeable
        self._work("dtoh", src, dest.nbytes, stream)

    def module_from_buffer(self, buffer: bytes) -> SimpleNamespace:
        self._work("module", buffer)
        return SimpleNamespace(get_function=lambda name: Function(self, name))

    def Stream(self) -> Stream:  # noqa: N802 - pycuda's name
        self._work("stream")
        return Stream(self)

    def _push(self) -> None:
        self.pushed += 1

    def _pop(self) -> None:
        assert self.pushed, "nothing to pop"
        self.pushed -= 1

    def _work(self, name: str, *details: Any) -> None:
        assert self.pushed == 1, f"{name} without a context"
        if self.fails == name:
            raise self.Error(f"{name} failed: an illegal address\nat some line")
        self.calls.append((name, *details))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]


class Memory:
    def __init__(self, cuda: FakePycuda, address: int) -> None:
        self._cuda, self._address = cuda, address
        cuda.live += 1

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._cuda._work("free", self._address)
        self._cuda.live -= 1


class Locked:
    """A PagelockedHostAllocation, which its array has as ``base``."""

    def __init__(self, cuda: FakePycuda, memory: np.ndarray[Any, Any]) -> None:
        self._cuda, self._memory = cuda, memory
        self.__array_interface__ = memory.__array_interface__
        cuda.live += 1

    def get_device_pointer(self) -> int:
        assert self._cuda.integrated, "not mapped"
        return 77

    def free(self) -> None:
        self._cuda._work("free_host")
        self._cuda.live -= 1


class Stream:
    def __init__(self, cuda: FakePycuda) -> None:
        self._cuda = cuda

    def synchronize(self) -> None:
        self._cuda._work("synchronize")


class Function:
    def __init__(self, cuda: FakePycuda, name: str) -> None:
        self._cuda, self._name = cuda, name

    def __call__(
        self, *arguments: Any, block: tuple[int, int, int], grid: tuple[int, int, int], stream: Stream
    ) -> None:
        assert all(isinstance(one, np.number) for one in arguments), "pycuda packs NumPy's numbers alone"
        packed = struct.pack("".join(one.dtype.char for one in arguments), *arguments)
        self._cuda._work("launch", self._name, packed, block, grid, stream)
