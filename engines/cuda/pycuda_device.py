"""CUDA through pycuda, on the GPU's primary context, which other libraries of this process share."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from engines.cuda import nvrtc
from engines.cuda.layout import BLOCK_WH
from engines.cuda.ports import Argument, Staging
from engines.errors import InferenceError, RuntimeMissingError

CHECK = "check nvidia-smi"


def unavailable() -> str | None:
    """Why frames cannot be prepared on a GPU here, and the way out; None when they can. Touches no GPU state."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1): install it, or run on the CPU"
    if status := driver.cuInit(0):
        return f"the NVIDIA driver does not start (cuInit gave {status}): {CHECK}"
    if find_spec("pycuda") is None:
        return "pycuda is missing: pip install pycuda"
    return nvrtc.unavailable()


def _driver() -> Any:
    """pycuda's driver module. Raises RuntimeMissingError when it, or what it needs, is missing."""
    if (reason := unavailable()) is not None:
        raise RuntimeMissingError(reason)
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        again = "install it again for this CUDA (pip install --no-binary :all: --force-reinstall pycuda)"
        raise RuntimeMissingError(f"pycuda cannot be imported: {_first_line(error)}; {again}") from error
    return cuda


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@cache
def _primary_context(ordinal: int) -> Any:
    """Kept for as long as the process runs, as the libraries do that share it."""
    import pycuda.driver as cuda

    return cuda.Device(ordinal).retain_primary_context()


class PycudaDevice:
    """The GPU ``ordinal`` with a stream. Used by one thread at a time."""

    def __init__(self, ordinal: int = 0, *, stream: Any = None) -> None:
        """``stream``: a pycuda.driver.Stream to share, so that what follows on it needs no waiting; None: its own.

        Raises RuntimeMissingError when the GPU or the kernels' compiler is missing.
        """
        self._cuda = cuda = _driver()
        try:
            cuda.init()
            gpu = cuda.Device(ordinal)
            self._context = _primary_context(ordinal)
        except cuda.Error as error:
            raise RuntimeMissingError(f"GPU {ordinal} cannot be opened: {_first_line(error)}; {CHECK}") from error
        self._is_integrated = bool(gpu.get_attribute(cuda.device_attribute.INTEGRATED))
        self._memory: dict[int, Any] = {}
        self._staged: dict[int, Any] = {}
        self._functions: dict[str, Any] = {}
        self._is_open = True
        with self._current():
            self._stream = stream or cuda.Stream()
            self._module = self._compiled(gpu)

    def allocate(self, size: int) -> int:
        with self._current():
            memory = self._cuda.mem_alloc(size)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        with self._current():
            self._memory.pop(address).free()

    def staging(self, size: int) -> Staging:
        flags = self._cuda.host_alloc_flags
        with self._current():
            mapping = flags.DEVICEMAP if self._is_integrated else flags.PORTABLE
            memory = self._cuda.pagelocked_empty(size, np.uint8, mem_flags=mapping)
            address = int(memory.base.get_device_pointer()) if self._is_integrated else None
        self._staged[memory.ctypes.data] = memory.base
        return Staging(memory, address)

    def release(self, staging: Staging) -> None:
        with self._current():
            self._staged.pop(staging.memory.ctypes.data).free()

    def copy_in(self, address: int, staging: Staging, size: int) -> None:
        with self._current():
            self._cuda.memcpy_htod_async(address, staging.memory[:size], self._stream)

    def copy_out(self, staging: Staging, address: int, size: int) -> None:
        with self._current():
            self._cuda.memcpy_dtoh_async(staging.memory[:size], address, self._stream)

    def launch(self, kernel: str, grid: tuple[int, int, int], arguments: Sequence[Argument]) -> None:
        with self._current():
            if kernel not in self._functions:
                self._functions[kernel] = self._module.get_function(kernel)
            self._functions[kernel](*arguments, block=(*BLOCK_WH, 1), grid=grid, stream=self._stream)

    def synchronise(self) -> None:
        with self._current():
            self._stream.synchronize()

    def free_bytes(self) -> int:
        """Of the GPU's memory."""
        with self._current():
            return int(self._cuda.mem_get_info()[0])

    def close(self) -> None:
        """Free everything while the context is at hand: pycuda's destructors may run on another thread."""
        if not self._is_open:
            return
        with self._current():
            self._stream.synchronize()
            for memory in (*self._memory.values(), *self._staged.values()):
                memory.free()
            self._memory.clear()
            self._staged.clear()
            self._functions.clear()
            self._module = self._stream = None
        self._is_open = False

    def _compiled(self, gpu: Any) -> Any:
        major, minor = gpu.compute_capability()
        compiler = nvrtc.compiler_for(self._cuda.get_driver_version() // 1000)
        return self._cuda.module_from_buffer(compiler.machine_code(10 * major + minor))

    @contextmanager
    def _current(self) -> Iterator[None]:
        """The context pushed for one call; pycuda's errors told as ours."""
        if not self._is_open:
            raise InferenceError("the GPU was closed: open it again")
        self._context.push()
        try:
            yield
        except self._cuda.Error as error:
            raise InferenceError(f"CUDA failed: {_first_line(error)}; {CHECK}") from error
        finally:
            self._cuda.Context.pop()
