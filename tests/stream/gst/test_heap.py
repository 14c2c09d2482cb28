"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stream.gst.heap import give_back, keep_few_arenas

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


ARENAS = """
import ctypes, sys, threading
from stream.gst.heap import keep_few_arenas
if sys.argv[1] == "few":
    keep_few_arenas()
C = ctypes.CDLL(None)
go, count = threading.Event(), int(sys.argv[2])
held = [threading.Thread(target=lambda: (C.malloc(1000), go.wait())) for _ in range(count)]
for thread in held:
    thread.start()
C.malloc_info(0, ctypes.c_void_p.in_dll(C, "stdout"))
C.fflush(None)
go.set()
"""


@pytest.mark.skipif(not hasattr(C, "mallopt"), reason="this C library is not glibc: it has no mallopt")
def test_many_threads_share_few_arenas() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"}
    counts, threads = {}, str(2 * (os.cpu_count() or 2) + 16)
    for how in ("few", "many"):
        told = subprocess.run(
            [sys.executable, "-c", ARENAS, how, threads], env=environment, capture_output=True, text=True
        )
        counts[how] = len(re.findall("<heap nr=", told.stdout))
    assert 1 <= counts["few"] <= max(2, os.cpu_count() or 2) < counts["many"]


def test_whoever_set_the_number_of_arenas_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("stream.gst.heap._LIMIT", lambda *given: told.append(given))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    keep_few_arenas()
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    keep_few_arenas()
    assert told == [(-8, max(2, os.cpu_count() or 2))]
