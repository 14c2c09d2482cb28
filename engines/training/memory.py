"""The allocator's settings for a training run."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of mallopt(3)."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees: each step allocates the same gigabytes, and having the kernel clear their
    pages anew takes a third of a step on a CPU. False where the C library is not glibc, which only costs time."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
