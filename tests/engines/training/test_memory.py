"""A run keeps what it frees."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

GIGABYTE = """
import resource, numpy as np
from engines.training.memory import keep_freed_memory
assert {keeps} == False or keep_freed_memory()
def faults():
    np.ones(32_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = faults()
print(faults() - first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_memory_that_was_freed_is_used_again_without_new_pages() -> None:
    fresh, kept = (_new_pages(keeps=keeps) for keeps in (False, True))
    assert kept < fresh / 10


def _new_pages(*, keeps: bool) -> int:
    """Pages that the kernel had to hand out for the second of two equal arrays."""
    run = subprocess.run([sys.executable, "-c", GIGABYTE.format(keeps=keeps)], capture_output=True, check=True)
    return int(run.stdout)
