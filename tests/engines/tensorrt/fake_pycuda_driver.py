"""``pycuda.driver`` and the parts of libcuda that run an engine, on plain memory: as strict as CUDA, and later.

Nothing that is queued happens before its stream is waited for. A call without a current context, a copy from memory
that is not page-locked, anything of use after free, and whatever is alive when the context goes, is an AssertionError;
what goes wrong in a destructor is kept in ``wrongs``. The GPU also serves the fake TensorRT: read, write, queue.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Work = Callable[[], None]
PORTABLE, DEVICEMAP = 1, 2
INTEGRATED = 18


class Error(Exception):
    """pycuda.driver.Error."""


class Gpu:
    """One GPU; ``calls`` are names in order, of what pycuda was asked."""

    def __init__(self, *, integrated: bool = False, captures: bool = True) -> None:
        self.integrated, self.captures = integrated, captures
        self.calls: list[str] = []
        self.wrongs: list[str] = []
        self.fails = ""
        self.device: dict[int, NDArray[np.uint8]] = {}
        self.pinned: dict[int, NDArray[np.uint8]] = {}
        self.queued: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.runnables: dict[int, list[Work]] = {}
        self.retained = 0
        self.launched = 0
        self.capturing: int | None = None
        self._captured: list[Work] = []
        self._stacks: dict[int, list[object]] = defaultdict(list)
        self._next = 1 << 20

    @property
    def alive(self) -> int:
        groups = (self.device, self.pinned, self.queued, self.graphs, self.runnables)
        return sum(len(group) for group in groups)

    @property
    def pushed(self) -> int:
        return len(self._stacks[threading.get_ident()])

    def push(self, context: object) -> None:
        assert self.retained, "pushed a context that nobody retains"
        self._stacks[threading.get_ident()].append(context)
        self.calls.append("push")

    def pop(self) -> None:
        assert self.pushed, "popped a context that was never pushed here"
        self._stacks[threading.get_ident()].pop()
        self.calls.append("pop")

    def release(self) -> None:
        assert not self.pushed, "let go of a context that is current"
        assert self.retained, "let go twice"
        assert self.alive == 0, f"{self.alive} things outlive their context"
        self.retained -= 1
        self.calls.append("detach")

    def work(self, name: str) -> None:
        """A call that needs a current context."""
        assert "init" in self.calls, f"{name} before init"
        assert self.pushed, f"{name} without a current context on this thread"
        if self.fails == name:
            raise Error(f"{name} failed: an illegal memory access\nat some line")
        self.calls.append(name)

    def address(self, size: int) -> int:
        self._next += 256 * (1 + size // 256)
        return self._next

    def free(self, memory: dict[int, NDArray[np.uint8]], address: int) -> None:
        assert not any(self.queued.values()), "freed while work is queued"
        del memory[address]

    def queue(self, stream: int, work: Work) -> None:
        self.need_stream(stream)
        if self.capturing is None:
            self.queued[stream].append(work)
        else:
            assert stream == self.capturing, "queued on another stream while one is captured"
            self._captured.append(work)

    def need_stream(self, stream: int) -> None:
        assert stream in self.queued, f"no stream {stream}"

    def synchronise(self, stream: int) -> None:
        self.need_stream(stream)
        assert self.capturing is None, "waited for a stream that is captured"
        works, self.queued[stream] = self.queued[stream], []
        for work in works:
            work()

    def begin_capture(self, stream: int) -> None:
        self.need_stream(stream)
        self.capturing, self._captured = stream, []

    def end_capture(self, stream: int) -> list[Work]:
        assert stream == self.capturing, "ended a capture that was not begun"
        self.capturing = None
        return self._captured

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        return self._seen(address, size).copy()

    def write(self, address: int, content: NDArray[np.uint8]) -> None:
        self._seen(address, len(content))[:] = content

    def host(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``array``, if it is page-locked and lives."""
        first = array.ctypes.data
        fits = (at <= first and first + array.nbytes <= at + memory.nbytes for at, memory in self.pinned.items())
        assert any(fits), "copied from or to memory that is not page-locked, or freed"
        return array

    def _seen(self, address: int, size: int) -> NDArray[np.uint8]:
        for first, memory in (*self.device.items(), *(self.pinned.items() if self.integrated else ())):
            if first <= address and address + size <= first + memory.nbytes:
                return memory[address - first : address - first + size]
        raise AssertionError(f"{size} bytes at {address:#x} are not the GPU's")


class Allocation:
    """A DeviceAllocation: freed once, by hand or when nobody holds it."""

    _address = 0

    def __init__(self, gpu: Gpu, size: int) -> None:
        self._gpu = gpu
        gpu.work("mem_alloc")
        self._address = gpu.address(size)
        gpu.device[self._address] = np.full(size, 0xCD, np.uint8)

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._gpu.work("free")
        self._gpu.free(self._gpu.device, self._address)

    def __del__(self) -> None:
        if self._address in self._gpu.device:
            _destroyed(self._gpu, self.free)


class Pinned:
    """A PagelockedHostAllocation, which its array has as ``base``."""

    def __init__(self, gpu: Gpu, size: int, flags: int) -> None:
        self._gpu, self._flags = gpu, flags
        self.memory = np.zeros(size, np.uint8)
        self._address = self.memory.ctypes.data
        gpu.pinned[self._address] = self.memory
        self.__array_interface__ = self.memory.__array_interface__

    def get_device_pointer(self) -> int:
        assert self._flags & DEVICEMAP, "asked for the address of memory that is not mapped"
        self._gpu.work("get_device_pointer")
        return self._address

    def free(self) -> None:
        self._gpu.work("free_host")
        self._gpu.free(self._gpu.pinned, self._address)


class Stream:
    """Destroyed when nobody holds it."""

    handle = 0

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        gpu.work("stream")
        self.handle = gpu.address(1)
        gpu.queued[self.handle] = []

    def synchronize(self) -> None:
        try:
            self._gpu.work("synchronize")
        except Error:
            self._gpu.queued[self.handle].clear()  # what fails is over
            raise
        self._gpu.synchronise(self.handle)

    def destroy(self) -> None:
        self._gpu.work("destroy")
        assert not self._gpu.queued[self.handle], "destroyed while work is queued"
        del self._gpu.queued[self.handle]

    def __del__(self) -> None:
        if self.handle:
            _destroyed(self._gpu, self.destroy)


def _destroyed(gpu: Gpu, destroy: Work) -> None:
    try:
        destroy()
    except AssertionError as error:
        gpu.wrongs.append(str(error))


def driver_of(gpu: Gpu) -> ModuleType:
    """What ``import pycuda.driver`` gives, as far as it is ours to call: anything else is an AttributeError."""
    context = SimpleNamespace(push=lambda: gpu.push(context), detach=gpu.release)

    def retain() -> SimpleNamespace:
        assert "init" in gpu.calls, "a device before init"
        gpu.retained += 1
        gpu.calls.append("retain")
        return context

    def device(ordinal: int) -> SimpleNamespace:
        if gpu.fails == "device":
            raise Error("cuDeviceGet failed: invalid device ordinal\nat some line")
        attributes = {INTEGRATED: int(gpu.integrated)}
        return SimpleNamespace(get_attribute=attributes.__getitem__, retain_primary_context=retain, ordinal=ordinal)

    def pagelocked(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> NDArray[np.uint8]:
        gpu.work("pagelocked_empty")
        assert (np.dtype(dtype), order) == (np.uint8, "C")
        return np.asarray(Pinned(gpu, shape, mem_flags))

    def up(dest: int, src: NDArray[np.uint8], stream: Stream) -> None:
        gpu.work("memcpy_htod_async")
        gpu.queue(stream.handle, lambda: gpu.write(dest, gpu.host(src)))

    def down(dest: NDArray[np.uint8], src: int, stream: Stream) -> None:
        gpu.work("memcpy_dtoh_async")

        def copy() -> None:
            gpu.host(dest)[:] = gpu.read(src, dest.nbytes)

        gpu.queue(stream.handle, copy)

    module = ModuleType("pycuda.driver")
    module.__dict__.update(
        Error=Error,
        init=lambda: gpu.calls.append("init"),
        Device=device,
        Context=SimpleNamespace(pop=gpu.pop),
        Stream=lambda: Stream(gpu),
        mem_alloc=lambda size: Allocation(gpu, size),
        pagelocked_empty=pagelocked,
        memcpy_htod_async=up,
        memcpy_dtoh_async=down,
        host_alloc_flags=SimpleNamespace(PORTABLE=PORTABLE, DEVICEMAP=DEVICEMAP),
        device_attribute=SimpleNamespace(INTEGRATED=INTEGRATED),
    )
    return module


class Libcuda:
    """The calls of the driver itself: arguments are ctypes', answers are statuses."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def cuStreamBeginCapture_v2(self, stream: Any, mode: int) -> int:  # noqa: N802 - CUDA's name
        assert mode == 2, "a mode that forbids other threads their calls"
        if not self._gpu.captures:
            return 900
        self._gpu.begin_capture(stream.value)
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:  # noqa: N802
        return self._kept(self._gpu.graphs, graph, self._gpu.end_capture(stream.value))

    def cuGraphInstantiateWithFlags(self, runnable: Any, graph: Any, flags: Any) -> int:  # noqa: N802
        assert flags.value == 0
        return self._kept(self._gpu.runnables, runnable, self._gpu.graphs[graph.value])

    def cuGraphDestroy(self, graph: Any) -> int:  # noqa: N802
        del self._gpu.graphs[graph.value]
        return 0

    def cuGraphLaunch(self, runnable: Any, stream: Any) -> int:  # noqa: N802
        if self._gpu.fails == "launch":
            return 700
        self._gpu.launched += 1
        for work in self._gpu.runnables[runnable.value]:
            self._gpu.queue(stream.value, work)
        return 0

    def cuGraphExecDestroy(self, runnable: Any) -> int:  # noqa: N802
        del self._gpu.runnables[runnable.value]
        return 0

    def _kept(self, group: dict[int, list[Work]], told: Any, works: list[Work]) -> int:
        told._obj.value = self._gpu.address(1)
        group[told._obj.value] = works
        return 0
