"""Whether a key picture needs nothing before it.

H.264 and H.265 also let decoding begin at pictures that are no such thing: a recovery point only starts a refresh, bit
by bit (H.264 D.2.8), and parsers call both a key. The units inside tell them apart (table 7-1 of both standards).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)

IDR = 5
"""H.264's unit type of a slice that needs nothing before it."""
IRAP = range(16, 24)
"""H.265's types of slices that need nothing before them."""
START = b"\x00\x00\x01"
LENGTH_BYTES = 4
"""Of a unit's length, in streams without start codes."""


def stands_alone(buffer: Any, caps: Any) -> bool:
    """Of an encoded key picture (Gst.Buffer) with the ``caps`` of its pad; other codecs' key pictures all do."""
    told = caps.get_structure(0) if caps is not None else None
    if told is None or told.get_name() not in ("video/x-h264", "video/x-h265"):
        return True
    is_mapped, mapped = buffer.map(Gst.MapFlags.READ)
    if not is_mapped:
        return False
    try:
        has_lengths = told.get_string("stream-format") != "byte-stream"
        return any_stands_alone(bytes(mapped.data), told.get_name(), with_lengths=has_lengths)
    finally:
        buffer.unmap(mapped)


def any_stands_alone(data: bytes, codec: str, *, with_lengths: bool) -> bool:
    """Whether one of the picture's units is a slice that needs nothing before it. Pure; never raises on broken data."""
    heads = _heads_by_length(data) if with_lengths else _heads_by_start(data)
    if codec == "video/x-h265":
        return any((head >> 1) & 0x3F in IRAP for head in heads)
    return any(head & 0x1F == IDR for head in heads)


def _heads_by_start(data: bytes) -> Iterator[int]:
    """First byte of each unit behind a start code."""
    place = data.find(START)
    while 0 <= place < len(data) - len(START):
        yield data[place + len(START)]
        place = data.find(START, place + len(START))


def _heads_by_length(data: bytes) -> Iterator[int]:
    """First byte of each unit behind its length."""
    place = 0
    while place + LENGTH_BYTES < len(data):
        yield data[place + LENGTH_BYTES]
        place += LENGTH_BYTES + int.from_bytes(data[place : place + LENGTH_BYTES], "big")
