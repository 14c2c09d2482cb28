"""A GPU in plain memory: streams run only when they are waited for, and use after free, foreign threads and reading
before waiting are errors."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engines.errors import InferenceError
from engines.tensorrt.cuda_ports import HostBuffer


class FakeCuda:
    """``shares_memory``: a Jetson. ``captures``: whether graphs can be made."""

    def __init__(self, *, shares_memory: bool = False, captures: bool = True) -> None:
        self.shares_memory, self.captures = shares_memory, captures
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.mapped: set[int] = set()
        self.hosts: set[int] = set()
        self.streams: list[int] = []
        self.queued: dict[int, list[Callable[[], None]]] = defaultdict(list)
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.capturing: int | None = None
        self.captured: list[Callable[[], None]] = []
        self.launched = 0
        self.copied = 0
        self.most_waiting = 0
        self.fails_to_wait = False
        self.is_closed = False
        self.owner: int | None = None
        self._next = 4096

    @property
    def leftovers(self) -> int:
        return len(self.memory) + len(self.hosts) + len(self.graphs)

    def stream(self) -> int:
        self._owned()
        self.streams.append(self._address(1))
        return self.streams[-1]

    def allocate(self, size: int) -> int:
        self._owned()
        address = self._address(size)
        self.memory[address] = np.full(size, 0xAB, np.uint8)
        return address

    def free(self, address: int) -> None:
        self._owned()
        self._idle()
        del self.memory[address]

    def host(self, size: int) -> HostBuffer:
        self._owned()
        address = self.allocate(size) if self.shares_memory else None
        memory = np.zeros(size, np.uint8) if address is None else self.memory[address]
        buffer = HostBuffer(memory, address)
        self.hosts.add(id(buffer))
        return buffer

    def release(self, buffer: HostBuffer) -> None:
        self._owned()
        self._idle()
        self.hosts.remove(id(buffer))
        if buffer.address is not None:
            self.free(buffer.address)

    def copy_in(self, address: int, buffer: HostBuffer, size: int, stream: int) -> None:
        self.queue(stream, lambda: self.write(address, buffer.memory[:size]))

    def copy_out(self, buffer: HostBuffer, address: int, size: int, stream: int) -> None:
        def copy() -> None:
            buffer.memory[:size] = self.read(address, size)

        self.queue(stream, copy)

    def capture(self, stream: int, work: Callable[[], None]) -> int | None:
        self.need_stream(stream)
        if not self.captures:
            return None
        self.capturing, self.captured = stream, []
        try:
            work()
        except InferenceError:
            return None
        finally:
            self.capturing = None
        graph = self._address(1)
        self.graphs[graph] = self.captured
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self.launched += 1
        for work in self.graphs[graph]:
            self.queue(stream, work)

    def drop(self, graph: int) -> None:
        self._owned()
        del self.graphs[graph]

    def synchronise(self, stream: int) -> None:
        self.need_stream(stream)
        waiting = sum(bool(works) for works in self.queued.values())
        self.most_waiting = max(self.most_waiting, waiting)
        works, self.queued[stream] = self.queued[stream], []
        if self.fails_to_wait:
            raise InferenceError("CUDA failed: an illegal memory access; check nvidia-smi")
        for work in works:
            work()

    def close(self) -> None:
        self._owned()
        self.is_closed = True

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        self.need_stream(stream)
        if self.capturing is not None:
            assert self.capturing == stream
            self.captured.append(work)
        else:
            self.queued[stream].append(work)

    def need_stream(self, stream: int) -> None:
        self._owned()
        assert stream in self.streams, "no such stream"

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        start, memory = self._block(address, size)
        return memory[start : start + size].copy()

    def write(self, address: int, content: NDArray[np.uint8]) -> None:
        start, memory = self._block(address, len(content))
        memory[start : start + len(content)] = content
        self.copied += 1

    def _block(self, address: int, size: int) -> tuple[int, NDArray[np.uint8]]:
        for start, memory in self.memory.items():
            if start <= address and address + size <= start + len(memory):
                return address - start, memory
        raise AssertionError("use of memory that is free")

    def _idle(self) -> None:
        assert not any(self.queued.values()), "freed while the GPU still works"

    def _address(self, size: int) -> int:
        self._next += 256 * (1 + size // 256)
        return self._next

    def _owned(self) -> None:
        assert not self.is_closed, "used after it was closed"
        self.owner = self.owner or threading.get_ident()
        assert threading.get_ident() == self.owner, "used by a thread that does not own the context"
