"""A GPU made of this machine's memory and the kernels' host build: as strict as CUDA, and later than one might wish.

Nothing that is queued happens before ``synchronise``, so whoever touches memory too early is found out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.cuda.host import HostKernels
from engines.cuda.layout import FACE, FRAME, grid_over
from engines.cuda.ports import Argument, Staging
from engines.errors import InferenceError
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend

NEVER_WRITTEN = 0xCD


class FakeGpu:
    """A Device. ``mapped``: GPU and processor share memory, as on Jetson."""

    def __init__(self, kernels: HostKernels, *, mapped: bool = False) -> None:
        self._kernels = kernels
        self._mapped = mapped
        self._device: dict[int, NDArray[np.uint8]] = {}
        self._host: dict[int, NDArray[np.uint8]] = {}
        self._queue: list[Callable[[], None]] = []
        self._thread = threading.get_ident()
        self.is_open = True
        self.launches: list[str] = []
        self.copied_in = 0
        """Bytes sent up."""
        self.fails = False
        self.size = 1 << 30

    @property
    def live_bytes(self) -> int:
        return sum(memory.size for memory in (*self._device.values(), *self._host.values()))

    @property
    def is_idle(self) -> bool:
        return not self._queue

    def allocate(self, size: int) -> int:
        return self._new(self._device, size)

    def free(self, address: int) -> None:
        self._check()
        assert not self._queue, "freed while the queue may still use it"
        del self._device[address]

    def staging(self, size: int) -> Staging:
        address = self._new(self._host, size)
        return Staging(self._host[address], address if self._mapped else None)

    def release(self, staging: Staging) -> None:
        self._check()
        assert not self._queue, "released while the queue may still use it"
        del self._host[staging.memory.ctypes.data]

    def copy_in(self, address: int, staging: Staging, size: int) -> None:
        assert staging.memory.ctypes.data in self._host
        self.copied_in += size
        to = self.view(address, size)
        self._push(lambda: np.copyto(to, staging.memory[:size]))

    def copy_out(self, staging: Staging, address: int, size: int) -> None:
        assert staging.memory.ctypes.data in self._host
        source = self.view(address, size)
        self._push(lambda: np.copyto(staging.memory[:size], source))

    def launch(self, kernel: str, grid: tuple[int, int, int], arguments: Sequence[Argument]) -> None:
        self.launches.append(kernel)
        self._push(lambda: self._run(kernel, grid, arguments))

    def synchronise(self) -> None:
        self._check()
        if self.fails:
            raise InferenceError("CUDA failed: out of sorts; check nvidia-smi")
        queue, self._queue = self._queue, []
        for action in queue:
            action()

    def free_bytes(self) -> int:
        return self.size - self.live_bytes

    def close(self) -> None:
        self._device.clear()
        self._host.clear()
        self.is_open = False

    def view(self, address: int, size: int) -> NDArray[np.uint8]:
        """Memory that the GPU sees, or an assertion that it does not."""
        seen = {**self._device, **(self._host if self._mapped else {})}
        for first, memory in seen.items():
            if first <= address and address + size <= first + memory.size:
                return memory[address - first : address - first + size]
        raise AssertionError(f"{size} bytes at {address:#x} are not the GPU's")

    def _run(self, kernel: str, grid: tuple[int, int, int], arguments: Sequence[Argument]) -> None:
        numbers = [int(value) for value in arguments]
        addresses = [number for number, value in zip(numbers, arguments, strict=True) if isinstance(value, np.uint64)]
        assert len(addresses) == 4
        if kernel == "crop_faces":
            (size,) = numbers[4:]
            assert grid == grid_over(size, size, grid[2])
            frames = self.view(addresses[0], grid[2] * FACE.itemsize).view(FACE)["frame"]
            self.view(addresses[3], 4 * 3 * size * size * grid[2])
        else:
            *_, width, height = numbers[4:]
            assert grid == grid_over(width, height)
            frames = self.view(addresses[0], FRAME.itemsize).view(FRAME)
            self.view(addresses[3], 4 * 3 * width * height)
        for frame in frames:
            self._check_planes(frame)
        self._kernels.launch(kernel, grid, arguments)

    def _check_planes(self, frame: np.void) -> None:
        self.view(int(frame["y"]), int(frame["height"] * frame["y_pitch"]))
        rows, step = (int(frame["height"]) + 1) // 2, int(frame["chroma_step"])
        width = (int(frame["width"]) + 1) // 2
        for plane in ("u", "v"):
            self.view(int(frame[plane]), (rows - 1) * int(frame["chroma_pitch"]) + (width - 1) * step + 1)

    def _new(self, kind: dict[int, NDArray[np.uint8]], size: int) -> int:
        self._check()
        assert size > 0
        memory = np.full(size, NEVER_WRITTEN, np.uint8)
        kind[memory.ctypes.data] = memory
        return int(memory.ctypes.data)

    def _push(self, action: Callable[[], None]) -> None:
        self._check()
        self._queue.append(action)

    def _check(self) -> None:
        assert self.is_open, "used after it was closed"
        if threading.get_ident() != self._thread:
            assert not self._queue, "used by a thread while another one's work is queued"
            self._thread = threading.get_ident()


class DeviceScripted(ScriptedBackend):
    """A scripted backend that can also read its only input from a fake GPU."""

    name = "scripted-gpu"

    def __init__(
        self,
        gpu: FakeGpu,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        function: Callable[[Mapping[str, Array]], dict[str, Array]],
    ) -> None:
        super().__init__(inputs, outputs, function)
        self._gpu = gpu
        self.batches: list[int] = []

    def infer_device(self, pointers: Mapping[str, int], batch: int) -> dict[str, Array]:
        (spec,) = self.inputs
        (address,) = (pointers[name] for name in (spec.name,))
        shape = (batch, *(size for size in spec.shape[1:] if size is not None))
        assert len(shape) == len(spec.shape)
        assert self._gpu.is_idle, "read while the queue may still write"
        values = self._gpu.view(address, 4 * int(np.prod(shape))).view(np.float32).reshape(shape).copy()
        self.batches.append(batch)
        return self.infer({spec.name: values})
