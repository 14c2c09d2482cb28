"""What this process holds at a moment: memory three ways, descriptors, threads. Linux."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_MALLINFO2 = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo2(ctypes.Structure):
    """malloc.h, glibc 2.33."""

    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2]


def resident_mb() -> float:
    """With what is shared with other processes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def heap_mb() -> float:
    """In use of all of glibc's heaps, and what is mapped by itself; NaN where the C library has no ``mallinfo2``."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return float("nan")
    ask.restype = _Mallinfo2
    told = ask()
    return float(told.uordblks + told.hblkhd) / 1e6


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))
