"""What a process holds, beside what is known to have been taken."""

from __future__ import annotations

import ctypes
import math
import mmap
import threading

import pytest

from bench.held import descriptors, heap_mb, resident_mb
from bench.held import threads as threads_held

C = ctypes.CDLL(None)
C.malloc.restype, C.malloc.argtypes, C.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
MEGABYTES = 20


@pytest.mark.skipif(not hasattr(C, "mallinfo2"), reason="this C library is not glibc 2.33 or later: no mallinfo2")
@pytest.mark.parametrize("piece", [1_000, 1_000_000], ids=["in a heap", "mapped by itself"])
def test_the_heap_counts_what_is_taken_and_not_what_was_freed(piece: int) -> None:
    before_mb = heap_mb()
    taken = [C.malloc(piece) for _ in range(MEGABYTES * 1_000_000 // piece)]
    held_mb = heap_mb() - before_mb
    for address in taken:
        C.free(address)
    assert held_mb == pytest.approx(MEGABYTES, rel=0.1)
    assert heap_mb() - before_mb == pytest.approx(0, abs=1)


def test_a_heap_that_cannot_be_asked_is_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert math.isnan(heap_mb())


def test_resident_memory_counts_pages_that_were_touched() -> None:
    with mmap.mmap(-1, MEGABYTES * 1_000_000) as pages:  # of its own: a heap may have free pages, touched long ago
        before_mb = resident_mb()
        pages.write(b"x" * len(pages))
        assert resident_mb() - before_mb > MEGABYTES * 0.9


def test_an_open_file_and_a_thread_are_counted() -> None:
    before, stop = (descriptors(), threads_held()), threading.Event()
    waiting = threading.Thread(target=stop.wait)
    with open(__file__):
        waiting.start()
        during = (descriptors(), threads_held())
        stop.set()
        waiting.join()
    assert during == (before[0] + 1, before[1] + 1)
