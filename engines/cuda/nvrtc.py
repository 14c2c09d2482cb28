"""The kernels as machine code of one GPU, by NVRTC: NVIDIA's compiler as a library, which needs no GPU itself.

Machine code rather than PTX, because a driver refuses PTX of a newer compiler than itself and takes machine code of any
compiler of its own major version.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from engines.cuda.host import KERNELS, SOURCE
from engines.errors import RuntimeMissingError

HEADER = "host_build.h"
OPTIONS = (b"--std=c++17", b"--fmad=false")
"""Without contraction: see the note on top of the source."""
SYSTEM_NAMES = ("libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12")
WAY_OUT = "install nvidia-cuda-nvrtc (or nvidia-cuda-nvrtc-cu12 where the driver is of CUDA 12), or CUDA's toolkit"


@dataclass(frozen=True)
class Compiler:
    """One loaded libnvrtc."""

    library: ctypes.CDLL
    version: tuple[int, int]
    """Of CUDA."""

    def machine_code(self, sm: int) -> bytes:
        """Both kernels for compute capability ``sm`` (87: 8.7). Raises RuntimeMissingError in the compiler's words."""
        program = self._program()
        try:
            options = (*OPTIONS, f"--gpu-architecture=sm_{sm}".encode())
            status = self.library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
            if status:
                log = self._text(program, "ProgramLog").decode(errors="replace").strip("\0\n").splitlines()
                reason = log[0] if log else self._name(status)
                raise RuntimeMissingError(f"NVRTC cannot compile for sm_{sm}: {reason}; {WAY_OUT}")
            return self._text(program, "CUBIN")
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def _program(self) -> ctypes.c_void_p:
        program = ctypes.c_void_p()
        source, header = ((KERNELS / name).read_bytes() for name in (SOURCE, HEADER))
        headers, names = (ctypes.c_char_p * 1)(header), (ctypes.c_char_p * 1)(HEADER.encode())
        self._check(self.library.nvrtcCreateProgram(ctypes.byref(program), source, SOURCE.encode(), 1, headers, names))
        return program

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.library, f"nvrtcGet{what}")(program, text))
        return text.raw

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeMissingError(f"NVRTC failed ({self._name(status)}): {WAY_OUT}")

    def _name(self, status: int) -> str:
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return bytes(self.library.nvrtcGetErrorString(status)).decode()


def compilers() -> Iterator[Compiler]:
    """Every NVRTC that loads here: those of Python packages, then the system's."""
    for name in (*_packaged(), *SYSTEM_NAMES):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        major, minor = ctypes.c_int(), ctypes.c_int()
        if not library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)):
            yield Compiler(library, (major.value, minor.value))


def compiler_for(driver_major: int | None = None) -> Compiler:
    """The newest that a driver of this major version of CUDA (None: any) takes code of. Raises RuntimeMissingError."""
    found = [one for one in compilers() if driver_major is None or one.version[0] <= driver_major]
    if not found:
        needed = "" if driver_major is None else f" for a driver of CUDA {driver_major}"
        raise RuntimeMissingError(f"no NVRTC{needed}, which compiles the kernels: {WAY_OUT}")
    return max(found, key=lambda one: one.version)


def unavailable() -> str | None:
    """Why kernels cannot be compiled for a GPU here; None when they can."""
    return None if next(compilers(), None) else f"no NVRTC: {WAY_OUT}"


def _packaged() -> Iterator[str]:
    """NVIDIA's wheels of CUDA 12 and 13 lay the library out differently."""
    package = find_spec("nvidia")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.1[0-9]")):
            yield str(path)
