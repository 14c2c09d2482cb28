"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from stream.gst.heap import give_back

C = ctypes.CDLL(None)
SMALL, COUNT = 1000, 30_000


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(not hasattr(C, "malloc_trim"), reason="this C library is not glibc: it has no malloc_trim")
def test_pages_between_what_is_in_use_are_handed_back() -> None:
    """Every twentieth block stays: the heap cannot shrink from its end."""
    C.malloc.restype, C.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [ctypes.c_void_p(C.malloc(SMALL)) for _ in range(COUNT)]
    for block in blocks:
        ctypes.memset(block, 1, SMALL)
    for index, block in enumerate(blocks):
        if index % 20:
            C.free(block)
    before = resident_mb()
    give_back()
    assert resident_mb() < before - 0.5 * SMALL * COUNT / 1e6
    for block in blocks[::20]:
        C.free(block)
