"""Encoded pictures of a source that sends none: screens and cameras without an encoder, for their packet ring."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

from stream.errors import MissingPartError, OutputError  # noqa: E402
from stream.gst.branch import Branch, BranchHooks, parsed  # noqa: E402
from stream.gst.codecs import EncoderRow  # noqa: E402
from stream.gst.packet_ring import PacketRing  # noqa: E402
from stream.gst.recording import find_encoder, kbps_of  # noqa: E402
from stream.ports import Clock  # noqa: E402
from stream.types import StreamName  # noqa: E402

log = logging.getLogger(__name__)

RATE_HZ = 10
"""Pictures a second: enough to see what happened, at a third of a camera's cost."""
LONGEST_SIDE = 1280
COPIED = Gst.BufferCopyFlags.FLAGS | Gst.BufferCopyFlags.META | Gst.BufferCopyFlags.MEMORY
QUEUE = 4
FINISH_WITHIN_S = 2.0
"""Nobody waits for what is still inside: the ring is not a recording."""


class RawPackets:
    """A VideoTap that encodes for a ring, unless a decoder feeds that already. ``close`` ends it."""

    def __init__(self, name: StreamName, ring: PacketRing, clock: Clock = time.monotonic_ns) -> None:
        self._name, self._ring, self._clock = name, ring, clock
        self._encoder = _encoder_here()
        self._lock = threading.Lock()
        self._branch: Branch | None = None
        self._began_ns = self._next_ns = 0
        self._is_over = False

    def push(self, sample: Any, segment: int) -> None:  # noqa: ARG002 - one clock goes through all segments
        """One decoded frame; on GStreamer's thread, and returns at once."""
        now_ns = self._clock()
        if self._ring.has_decoder or self._is_over or now_ns < self._next_ns:
            return
        self._next_ns = now_ns + round(1e9 / RATE_HZ)
        with self._lock:
            branch = self._branch or self._open(sample.get_caps(), now_ns)
        if branch is None:
            return
        buffer = sample.get_buffer().copy_region(COPIED, 0, sample.get_buffer().get_size())
        buffer.pts, buffer.dts = now_ns - self._began_ns, Gst.CLOCK_TIME_NONE
        branch.push(buffer, sample.get_caps())

    def close(self) -> None:
        with self._lock:
            self._is_over, branch = True, self._branch
        if branch is not None:
            branch.finish(FINISH_WITHIN_S)

    def _open(self, caps: Any, now_ns: int) -> Branch | None:
        """None where it cannot be, told once."""
        if self._is_over:
            return None
        info = GstVideo.VideoInfo.new_from_caps(caps)
        size_wh = fitting(info.width, info.height)
        if self._encoder is None:
            self._give_up(OutputError("no H.264 encoder: sudo apt install gstreamer1.0-plugins-ugly (x264enc)"))
            return None
        try:
            pipeline = parsed(_launch(size_wh, self._encoder.launch("live", kbps=kbps_of(*size_wh) // 2, gop=RATE_HZ)))
        except OutputError as error:
            self._give_up(error)
            return None
        self._began_ns = now_ns
        self._branch = Branch(pipeline, BranchHooks(self._give_up, _error, self._ring.push), False, QUEUE)
        return self._branch

    def _give_up(self, error: Exception) -> None:
        self._is_over = True
        log.warning("alerts of %s leave no clip: %s", self._name, error)


def _encoder_here() -> EncoderRow | None:
    """Looked for before the first picture comes: opening an encoder takes a moment."""
    try:
        return find_encoder()
    except MissingPartError:
        return None


def fitting(width: int, height: int) -> tuple[int, int]:
    """The size that is encoded: no side above LONGEST_SIDE, both even."""
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


def _launch(size_wh: tuple[int, int], encoder: str) -> str:
    size = f"video/x-raw,width={size_wh[0]},height={size_wh[1]}"
    return (
        f"appsrc name=in ! videoconvert ! videoscale add-borders=true ! {size} ! {encoder} "
        "! h264parse ! video/x-h264,stream-format=(string)avc,alignment=(string)au "
        "! appsink name=out async=false sync=false max-buffers=4"
    )


def _error(error: Any, _debug: str | None) -> OutputError:
    return OutputError(f"encoding has stopped: {error.message}")
