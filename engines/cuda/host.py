"""The kernels as a library of this machine's own processor, for tests: the same source through a C++ compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess  # nosec B404 # the compiler, for tests
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.cuda.ports import Argument
from engines.errors import RuntimeMissingError

KERNELS = Path(__file__).with_name("kernels")
SOURCE = "preprocess.cu"
FLAGS = ("-std=c++17", "-O2", "-shared", "-fPIC", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
"""Without contraction, as on the GPU: products are rounded before they are added."""


def unavailable() -> str | None:
    """Why the kernels cannot be compiled here; None when they can."""
    return None if shutil.which("g++") else "no C++ compiler: install g++ (apt-get install g++)"


def build(folder: Path) -> HostKernels:
    """Compile into ``folder`` and load. Raises RuntimeMissingError without a compiler or when it refuses."""
    if (reason := unavailable()) is not None:
        raise RuntimeMissingError(reason)
    library = folder / "kernels.so"
    command = ["g++", *FLAGS, "-x", "c++", str(KERNELS / SOURCE), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # nosec B603 # no word from outside
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), "g++ failed")
        raise RuntimeMissingError(f"the kernels do not compile: {first}; restore engines/cuda/kernels")
    return HostKernels(ctypes.CDLL(str(library)))


class HostKernels:
    """Runs a kernel by its name, block after block; addresses are this process's own."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def launch(self, kernel: str, grid: tuple[int, int, int], arguments: Sequence[Argument]) -> None:
        """``arguments``: np.uint64 addresses and np.int32 numbers, in the kernel's order."""
        function = getattr(self._library, f"{kernel}_on_host")
        function.restype = None
        function(*map(ctypes.c_int, grid), *map(_as_c, arguments))


def _as_c(value: Argument) -> ctypes.c_void_p | ctypes.c_int:
    return ctypes.c_void_p(int(value)) if isinstance(value, np.uint64) else ctypes.c_int(int(value))
