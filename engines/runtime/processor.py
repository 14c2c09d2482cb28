"""What a CPU engine depends on of the machine it was built on."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path


@cache
def processor() -> str:
    """Architecture and a digest of the processor's model and instruction sets, such as ``x86_64 3f0a…``."""
    return f"{platform.machine()} {_model()}"


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags", "Features"))]
    return hashlib.sha256("\n".join(names[:2]).encode()).hexdigest()[:12] if names else platform.processor()


@cache
def has_bf16() -> bool:
    """Whether it has instructions for bfloat16, as far as Linux tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(name in flags for name in ("avx512_bf16", "amx_bf16"))
