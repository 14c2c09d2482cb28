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
LENGTH_AT = {"video/x-h264": 4, "video/x-h265": 21}
"""Byte of the codec data whose last two bits tell how many bytes a unit's length has, less one (ISO 14496-15)."""


def stands_alone(buffer: Any, caps: Any) -> bool:
    """Of an encoded key picture (Gst.Buffer) with the ``caps`` of its pad; other codecs' key pictures all do."""
    told = caps.get_structure(0) if caps is not None else None
    if told is None or told.get_name() not in ("video/x-h264", "video/x-h265"):
        return True
    is_mapped, mapped = buffer.map(Gst.MapFlags.READ)
    if not is_mapped:
        return False
    try:
        return any_stands_alone(bytes(mapped.data), told.get_name(), _length_bytes(told))
    finally:
        buffer.unmap(mapped)


def _length_bytes(told: Any) -> int:
    """Of the lengths before units, by a caps structure; 0 where start codes stand instead."""
    if told.get_string("stream-format") == "byte-stream":
        return 0
    described = told.get_value("codec_data") if told.has_field("codec_data") else None
    data, at = b"" if described is None else described.extract_dup(0, described.get_size()), LENGTH_AT[told.get_name()]
    return 4 if len(data) <= at else (data[at] & 3) + 1


def any_stands_alone(data: bytes, codec: str, length_bytes: int) -> bool:
    """Whether one of the picture's units is a slice that needs nothing before it. Pure; never raises on broken data.

    ``length_bytes``: of the lengths before units; 0: start codes.
    """
    heads = _heads_by_length(data, length_bytes) if length_bytes else _heads_by_start(data)
    if codec == "video/x-h265":
        return any((head >> 1) & 0x3F in IRAP for head in heads)
    return any(head & 0x1F == IDR for head in heads)


def _heads_by_start(data: bytes) -> Iterator[int]:
    """First byte of each unit behind a start code."""
    place = data.find(START)
    while 0 <= place < len(data) - len(START):
        yield data[place + len(START)]
        place = data.find(START, place + len(START))


def _heads_by_length(data: bytes, length_bytes: int) -> Iterator[int]:
    """First byte of each unit behind its length."""
    place = 0
    while place + length_bytes < len(data):
        yield data[place + length_bytes]
        place += length_bytes + int.from_bytes(data[place : place + length_bytes], "big")
