"""What TensorRT measured of single layers, kept for the next build; whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engines.whole_file import write_whole

HASH_BYTES = 32


def read(path: Path) -> bytes:
    """b"" when there is none or it is cut short or changed: its hash goes before its bytes."""
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    digest, cache = content[:HASH_BYTES], content[HASH_BYTES:]
    return cache if hashlib.sha256(cache).digest() == digest else b""


def write(path: Path, cache: bytes) -> None:
    """By rename, so that a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, hashlib.sha256(cache).digest() + cache)
