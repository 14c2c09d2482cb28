"""A clip from encoded pictures as a camera sent them: put into a container, never decoded or encoded again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import GLib, Gst, GstApp  # noqa: E402, F401 - GstApp gives appsrc its methods

from stream.errors import OutputError  # noqa: E402
from stream.gst.packet_ring import Packet, Packets  # noqa: E402
from stream.gst.session import element_exists  # noqa: E402

Gst.init(None)

GIVE_UP_S = 60
"""For a pipeline that neither ends nor fails: muxing a minute takes well below a second."""
COPIED = Gst.BufferCopyFlags.FLAGS | Gst.BufferCopyFlags.MEMORY
"""All that a container needs but the times; the pictures stay shared."""


@dataclass(frozen=True)
class Container:
    """How pictures of one kind are put into a file."""

    parser: str
    """Element that stands before the muxer, with its ``!``; may be empty."""
    muxer: str
    suffix: str
    timer: str = ""
    """Element that works out when to decode reordered pictures; GStreamer has them since 1.22."""


MP4 = "mp4mux name=mux faststart=true"
"""The index comes first, so that a browser need not fetch the whole file; until then the pictures lie in another."""
CONTAINERS = {
    "video/x-h264": Container("h264parse ! ", MP4, ".mp4", "h264timestamper"),
    "video/x-h265": Container("h265parse ! ", MP4, ".mp4", "h265timestamper"),
    "video/x-vp8": Container("", "webmmux", ".webm"),
    "video/x-vp9": Container("", "webmmux", ".webm"),
    "image/jpeg": Container("jpegparse ! ", "matroskamux", ".mkv"),
}
UNTIMED = "matroskamux", ".mkv"
"""For pictures that come in another order than they are shown in, where nobody says when to decode them: mp4 must know.
"""


PARAMETER_SETS: dict[str, Callable[[int], bool]] = {
    "video/x-h264": lambda header: header & 31 in (7, 8),
    "video/x-h265": lambda header: header >> 1 & 63 in (32, 33, 34),
}
"""Codec -> whether a unit's first byte begins a parameter set (ITU-T H.264, table 7-1; H.265, table 7-1)."""
START_CODE = re.compile(rb"\x00?\x00\x00\x01")


@dataclass(frozen=True)
class Clip:
    """A written clip."""

    path: Path
    codec: str
    """Name of the caps, such as ``video/x-h264``."""
    seconds: float
    """From the first picture's time to the last one's."""


def write_clip(packets: Packets, folder: Path, name: str) -> Clip:
    """Write ``folder``/``name`` with the container's suffix; waits until it is done.

    Raises OutputError with one line when there is nothing to write, no container for it, or no room on the disk.
    """
    if not packets.packets:
        raise OutputError("the stream sent no key frame in time")
    codec = packets.caps.get_structure(0).get_name()
    container = CONTAINERS.get(codec)
    if container is None:
        raise OutputError(f"pictures of {codec} are kept in no clip")
    times = [_times(packet) for packet in packets.packets]
    zero_ns = min(min(pair) for pair in times)
    path = _mux(packets, container, folder / name, [(pts - zero_ns, dts - zero_ns) for pts, dts in times])
    shown = [pts for pts, _ in times]
    return Clip(path, codec, (max(shown) - min(shown)) / 1e9)


def _times(packet: Packet) -> tuple[int, int]:
    """When it is shown and when it is decoded; either stands in for the other, arrival for both."""
    pts, dts = packet.buffer.pts, packet.buffer.dts
    missing = Gst.CLOCK_TIME_NONE
    pts = pts if pts != missing else dts if dts != missing else packet.arrived_ns
    return int(pts), int(dts if dts != missing else pts)


def _mux(packets: Packets, container: Container, path: Path, times: list[tuple[int, int]]) -> Path:
    elements, suffix = _elements(container, is_timed=_is_timed(times))
    target, scratch = path.with_suffix(suffix), path.with_suffix(".partial")
    pipeline = _parsed(f"appsrc name=in format=time ! {elements} ! filesink name=file")
    if suffix == ".mp4":
        pipeline.get_by_name("mux").set_property("faststart-file", str(scratch))
    pipeline.get_by_name("file").set_property("location", str(target))
    pipeline.get_by_name("in").set_property("caps", packets.caps)
    try:
        _run(pipeline, _rebased(packets, times))
    finally:
        pipeline.set_state(Gst.State.NULL)
        scratch.unlink(missing_ok=True)
    return target


def _is_timed(times: list[tuple[int, int]]) -> bool:
    """Whether the times of decoding can be believed: they never fall."""
    decoding = [dts for _, dts in times]
    return decoding == sorted(decoding)


def _elements(container: Container, *, is_timed: bool) -> tuple[str, str]:
    """Launch text from pictures to the file's bytes, and the file's suffix."""
    if is_timed:
        return container.parser + container.muxer, container.suffix
    if container.timer and element_exists(container.timer):
        return f"{container.parser}{container.timer} ! {container.muxer}", container.suffix
    muxer, suffix = UNTIMED
    return container.parser + muxer, suffix


def parameter_sets(picture: bytes, codec: str) -> bytes:
    """The parameter sets in a picture of a byte stream, each with its start code; empty where there are none."""
    is_set = PARAMETER_SETS.get(codec)
    if is_set is None:
        return b""
    starts = list(START_CODE.finditer(picture))
    ends = [*(start.start() for start in starts[1:]), len(picture)]
    units = ((start, end) for start, end in zip(starts, ends, strict=False) if start.end() < end)
    return b"".join(picture[start.start() : end] for start, end in units if is_set(picture[start.end()]))


def _rebased(packets: Packets, times: list[tuple[int, int]]) -> Iterator[Any]:
    header, is_timed = _header(packets), _is_timed(times)
    for packet, (pts, dts) in zip(packets.packets, times, strict=True):
        buffer = packet.buffer.copy_region(COPIED, 0, packet.size)
        if header:
            buffer, header = Gst.Buffer.new_wrapped(header).append(buffer), b""
        buffer.pts, buffer.dts = pts, dts if is_timed else Gst.CLOCK_TIME_NONE
        yield buffer


def _header(packets: Packets) -> bytes:
    """What the first picture needs before it: a byte stream may say it once, when the stream begins."""
    shape = packets.caps.get_structure(0)
    if packets.opening is None or shape.get_string("stream-format") != "byte-stream":
        return b""
    opening = packets.opening.buffer
    return parameter_sets(opening.extract_dup(0, opening.get_size()), shape.get_name())


def _run(pipeline: Any, buffers: Iterator[Any]) -> None:
    feed = pipeline.get_by_name("in")
    pipeline.set_state(Gst.State.PLAYING)
    for buffer in buffers:
        feed.emit("push-buffer", buffer)
    feed.emit("end-of-stream")
    wanted = Gst.MessageType.ERROR | Gst.MessageType.EOS
    message = pipeline.get_bus().timed_pop_filtered(GIVE_UP_S * Gst.SECOND, wanted)
    if message is None:
        raise OutputError("the clip could not be written in time")
    if message.type == Gst.MessageType.ERROR:
        raise _error(*message.parse_error())


def _error(error: Any, debug: str | None) -> OutputError:
    if error.matches(Gst.ResourceError.quark(), Gst.ResourceError.NO_SPACE_LEFT) or "No space left" in str(debug):
        return OutputError("the disk is full")
    return OutputError(f"the clip could not be written: {error.message}")


def _parsed(text: str) -> Any:
    try:
        return Gst.parse_launch(text)
    except GLib.Error as error:
        raise OutputError(f"GStreamer cannot put the clip together ({error.message}): run unmask doctor") from error
