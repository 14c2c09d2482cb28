"""NVIDIA GPUs as the driver names them. No toolkit is needed: the driver's own library is asked."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

DRIVER = "libcuda.so.1"
NAME_BYTES = 128


def gpu_names(load: Callable[[str], Any] = ctypes.CDLL) -> tuple[str, ...]:
    """Empty where there is no driver, or a driver without a GPU. ``load`` opens a library, or raises OSError."""
    try:
        cuda = load(DRIVER)
    except OSError:
        return ()
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_name(cuda, number) for number in range(count.value))


def _name(cuda: Any, number: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(NAME_BYTES)
    if cuda.cuDeviceGet(ctypes.byref(device), number) != 0 or cuda.cuDeviceGetName(text, NAME_BYTES, device) != 0:
        return f"GPU {number}"
    return text.value.decode(errors="replace")
