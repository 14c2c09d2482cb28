"""The NVIDIA driver, asked by ctypes before anything else touches CUDA.

Without a driver TensorRT's factories give nothing and its lean runtime takes the process down, so this comes first.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import RuntimeMissingError

DRIVER = "libcuda.so.1"
L4T_RELEASE = Path("/etc/nv_tegra_release")
DRIVER_VERSION = Path("/proc/driver/nvidia/version")
NAME_BYTES = 128
INTEGRATED, MAJOR, MINOR = 18, 75, 76
"""Of ``CUdevice_attribute``."""

Load = Callable[[str], Any]
"""Opens a shared library, or raises OSError."""


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver names it."""

    name: str
    sm: int
    """Compute capability, as 87 for 8.7."""
    cuda: str
    """The newest CUDA that the driver speaks, such as ``12.6``."""
    memory_bytes: int
    shares_memory: bool
    """Whether it has no memory of its own (Jetson): mapped host memory then needs no copy."""
    driver: str = ""
    """Version of the kernel's driver, where it says one."""
    l4t: str = ""
    """Release of Linux for Tegra on a Jetson, such as ``36.4.3``."""

    @property
    def machine(self) -> str:
        """For engine keys: what an engine depends on."""
        return f"{self.name} sm_{self.sm}" + (f" L4T {self.l4t}" if self.l4t else "")


def unavailable(load: Load = ctypes.CDLL) -> str | None:
    """What is missing and the way out, in one line; None with a driver and a GPU."""
    try:
        _started(load)
    except RuntimeMissingError as error:
        return str(error)
    return None


def find_gpu(
    ordinal: int = 0,
    *,
    load: Load = ctypes.CDLL,
    l4t_release: Path = L4T_RELEASE,
    driver_version: Path = DRIVER_VERSION,
) -> Gpu:
    """The GPU with this number. Raises RuntimeMissingError with one line that says what is missing."""
    library = _started(load)
    device, version, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(NAME_BYTES)
    _check(library.cuDeviceGet(ctypes.byref(device), ordinal), f"there is no GPU {ordinal}")
    _check(library.cuDeviceGetName(name, NAME_BYTES, device), "the GPU's name cannot be read")
    _check(library.cuDriverGetVersion(ctypes.byref(version)), "the driver's CUDA version cannot be read")
    _check(library.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "the GPU's memory cannot be read")
    return Gpu(
        name=name.value.decode(errors="replace"),
        sm=10 * _attribute(library, MAJOR, device) + _attribute(library, MINOR, device),
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
        memory_bytes=memory.value,
        shares_memory=bool(_attribute(library, INTEGRATED, device)),
        driver=_found(r"Kernel Module(?: for \S+)?\s+([\d.]+)", _text(driver_version)),
        l4t=l4t_from(_text(l4t_release)),
    )


def l4t_from(text: str) -> str:
    """``36.4.3`` from ``# R36 (release), REVISION: 4.3, …``; "" from anything else."""
    release = re.search(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text)
    return f"{release[1]}.{release[2]}" if release else ""


def _started(load: Load) -> Any:
    try:
        library = load(DRIVER)
    except OSError:
        raise RuntimeMissingError(
            f"no NVIDIA driver ({DRIVER}): install it (on a Jetson: flash JetPack), or run on the CPU"
        ) from None
    status, count = library.cuInit(0), ctypes.c_int()
    if status != 0:
        raise RuntimeMissingError(f"the NVIDIA driver does not start (cuInit gave {status}): check nvidia-smi")
    _check(library.cuDeviceGetCount(ctypes.byref(count)), "GPUs cannot be counted")
    if count.value == 0:
        raise RuntimeMissingError("the NVIDIA driver finds no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES")
    return library


def _attribute(library: Any, attribute: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _check(library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "the GPU cannot be described")
    return value.value


def _check(status: int, what: str) -> None:
    if status != 0:
        raise RuntimeMissingError(f"{what} (CUDA error {status}): check nvidia-smi")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
