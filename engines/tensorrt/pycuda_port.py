"""CUDA through pycuda, on the GPU's primary context; graphs through the driver itself, as pycuda has none."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from engines.errors import InferenceError, RuntimeMissingError
from engines.tensorrt import driver
from engines.tensorrt.cuda_ports import HostBuffer
from engines.tensorrt.presence import pycuda_missing

CAPTURE_RELAXED = 2
"""``CU_STREAM_CAPTURE_MODE_RELAXED``: other threads (the preprocessor's) may allocate meanwhile."""


class PycudaCuda:
    """GPU ``ordinal``, with its primary context current on the thread that made this until ``close``."""

    def __init__(self, ordinal: int = 0, *, pycuda: Any = None, library: Any = None) -> None:
        """``pycuda``: the module ``pycuda.driver``; ``library``: libcuda; imported here by default, and only here.

        Raises RuntimeMissingError when one is missing or the GPU cannot be opened.
        """
        self._cuda = _pycuda() if pycuda is None else pycuda
        self._library = ctypes.CDLL(driver.DRIVER) if library is None else library
        try:
            self._open(ordinal)
        except self._cuda.Error as error:
            line = _first_line(error)
            raise RuntimeMissingError(f"GPU {ordinal} cannot be opened: {line}; check nvidia-smi") from error
        self._streams: dict[int, Any] = {}
        self._memory: dict[int, Any] = {}
        self._is_open = True

    def _open(self, ordinal: int) -> None:
        self._cuda.init()
        gpu = self._cuda.Device(ordinal)
        self._shares_memory = bool(gpu.get_attribute(self._cuda.device_attribute.INTEGRATED))
        self._context = gpu.retain_primary_context()
        self._context.push()

    def stream(self) -> int:
        stream = self._told(self._cuda.Stream)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def allocate(self, size: int) -> int:
        memory = self._told(self._cuda.mem_alloc, size)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        self._told(self._memory.pop(address).free)

    def host(self, size: int) -> HostBuffer:
        flags = self._cuda.host_alloc_flags
        mapping = flags.DEVICEMAP if self._shares_memory else flags.PORTABLE
        memory = self._told(self._cuda.pagelocked_empty, size, np.uint8, mem_flags=mapping)
        address = int(self._told(memory.base.get_device_pointer)) if self._shares_memory else None
        return HostBuffer(memory, address, memory.base)

    def release(self, buffer: HostBuffer) -> None:
        self._told(buffer.owner.free)

    def copy_in(self, address: int, buffer: HostBuffer, size: int, stream: int) -> None:
        self._told(self._cuda.memcpy_htod_async, address, buffer.memory[:size], self._streams[stream])

    def copy_out(self, buffer: HostBuffer, address: int, size: int, stream: int) -> None:
        self._told(self._cuda.memcpy_dtoh_async, buffer.memory[:size], address, self._streams[stream])

    def capture(self, stream: int, work: Callable[[], None]) -> int | None:
        handle, graph, runnable = ctypes.c_void_p(stream), ctypes.c_void_p(), ctypes.c_void_p()
        if self._library.cuStreamBeginCapture_v2(handle, CAPTURE_RELAXED) != 0:
            return None
        try:
            work()
        except InferenceError:  # an engine that cannot be captured runs plainly, where a real fault shows again
            pass
        finally:
            status = self._library.cuStreamEndCapture(handle, ctypes.byref(graph))
        if status != 0 or not graph.value:
            return None
        status = self._library.cuGraphInstantiateWithFlags(ctypes.byref(runnable), graph, ctypes.c_ulonglong(0))
        self._library.cuGraphDestroy(graph)
        return runnable.value if status == 0 else None

    def launch(self, graph: int, stream: int) -> None:
        self._check(self._library.cuGraphLaunch(ctypes.c_void_p(graph), ctypes.c_void_p(stream)), "launch a graph")

    def drop(self, graph: int) -> None:
        self._check(self._library.cuGraphExecDestroy(ctypes.c_void_p(graph)), "free a graph")

    def synchronise(self, stream: int) -> None:
        self._told(self._streams[stream].synchronize)

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._streams.clear()
        self._memory.clear()
        self._cuda.Context.pop()
        self._context.detach()

    def _check(self, status: int, what: str) -> None:
        if status != 0:
            raise InferenceError(f"CUDA could not {what} (error {status}): check nvidia-smi")

    def _told(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """pycuda's errors as ours."""
        try:
            return call(*arguments, **named)
        except self._cuda.Error as error:
            raise InferenceError(f"CUDA failed: {_first_line(error)}; check nvidia-smi") from error


def _pycuda() -> Any:
    if (reason := driver.unavailable() or pycuda_missing()) is not None:
        raise RuntimeMissingError(reason)
    try:
        import pycuda.driver
    except (ImportError, OSError) as error:
        again = "build it again for this CUDA"
        raise RuntimeMissingError(f"pycuda cannot be imported ({_first_line(error)}): {again}") from error
    return pycuda.driver


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
