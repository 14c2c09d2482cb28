"""The newest encoded pictures of a stream, by reference, so that a clip can begin before whatever made somebody ask.

Nothing is decoded or encoded for it: the ring holds what the camera sent, on its way into the decoder.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

from stream.ports import Clock  # noqa: E402

MAX_BYTES = 64 * 2**20
"""Of one ring, and of the part of one clip that is still to come: a minute and more of a 1080p camera at 8 Mbit/s."""
JUMP_NS = 10_000_000_000
"""A camera whose time leaps further ahead has begun anew; a shorter gap is a stall, and stays one in the clip."""
STEP_BACK_NS = 1_000_000_000
"""Reordered pictures step back by less."""
LENT = "image/jpeg"
"""Webcams send these in the driver's own few buffers, which must go back to it: they are copied."""


@dataclass(frozen=True)
class Packet:
    """One encoded picture, shared with the decoder: never written into."""

    buffer: Any
    """Gst.Buffer."""
    arrived_ns: int
    """On the ring's clock."""
    size: int
    """In bytes."""
    is_key: bool
    """Whether decoding can begin here."""


@dataclass(frozen=True)
class Packets:
    """What a clip is made of: it begins with a key frame."""

    caps: Any
    """Gst.Caps of all of them."""
    packets: tuple[Packet, ...]
    opening: Packet | None = None
    """The stream's first key frame: some cameras say only there how to decode all that follow."""
    cut: str = ""
    """Why it ends early, in words; empty when it does not."""


@dataclass
class Capture:
    """Packets from before it was asked for until ``until_ns``; grows on GStreamer's thread, under the ring's lock."""

    until_ns: int
    caps: Any
    opening: Packet | None
    packets: list[Packet]
    room: int
    """Bytes that may still come."""
    cut: str = ""
    is_over: bool = False

    def take(self, packet: Packet) -> None:
        if packet.arrived_ns > self.until_ns:
            self.is_over = True
        elif packet.size > self.room:
            self.end("the stream sends more than a clip may hold")
        else:
            self.room -= packet.size
            self.packets.append(packet)

    def end(self, why: str) -> None:
        self.cut, self.is_over = why, True


@dataclass
class _Run:
    """Packets of one format without a leap in time."""

    caps: Any = None
    opening: Packet | None = None
    packets: deque[Packet] = field(default_factory=deque)
    keys: deque[int] = field(default_factory=deque)
    """Arrival of each key frame among them."""
    size: int = 0
    last_pts_ns: int | None = None

    def add(self, packet: Packet) -> None:
        self.packets.append(packet)
        self.size += packet.size
        if packet.is_key:
            self.opening = self.opening or packet
            self.keys.append(packet.arrived_ns)

    def drop_first_group(self) -> None:
        """Up to the next key frame, or all."""
        self.keys.popleft()
        while self.packets:
            self.size -= self.packets.popleft().size
            if self.packets and self.packets[0].is_key:
                return


class PacketRing:
    """Holds ``before_s`` and at most one group of pictures more, within ``max_bytes``; begins with a key frame.

    GStreamer's thread pushes, any other captures. What it holds outlives its session: the last seconds of a camera
    that was lost are still there until the camera is back.
    """

    def __init__(self, before_s: float, *, max_bytes: int = MAX_BYTES, clock: Clock = time.monotonic_ns) -> None:
        self._before_ns, self._max_bytes, self._clock = round(before_s * 1e9), max_bytes, clock
        self._lock = threading.Lock()
        self._run = _Run()
        self._captures: list[Capture] = []
        self._is_fresh = True
        self.has_decoder = False
        """Whether the source sends encoded video; known before its first picture is decoded."""

    @property
    def held_bytes(self) -> int:
        """Of encoded video that is held now."""
        return self._run.size

    def begin(self) -> None:
        """Another decoder takes over: what comes next has nothing to do with what came before."""
        self._is_fresh = self.has_decoder = True

    def renew(self) -> None:
        """Another source takes over."""
        self._is_fresh, self.has_decoder = True, False

    def push(self, buffer: Any, caps: Any) -> None:
        """A Gst.Buffer as it enters the decoder, with its caps."""
        packet = self._packet(buffer, caps)
        with self._lock:
            if self._is_new(buffer.pts, caps):
                self._restart(caps)
            if buffer.pts != Gst.CLOCK_TIME_NONE:
                self._run.last_pts_ns = buffer.pts
            if not self._run.packets and not packet.is_key:
                return
            self._run.add(packet)
            self._hand_on(packet)
            self._trim(packet.arrived_ns)

    def capture(self, from_ns: int, until_ns: int) -> Capture:
        """What there is from the last key frame before ``from_ns``, and what comes until ``until_ns``.

        Of a stream that has fallen silent before that: its last seconds. ``ended`` gives it when the time is over.
        """
        with self._lock:
            run = self._run
            held = list(islice(run.packets, self._first(from_ns), None))
            capture = Capture(until_ns, run.caps, run.opening, held, self._max_bytes)
            self._captures.append(capture)
        return capture

    def ended(self, capture: Capture) -> Packets:
        """The capture as it is now; nothing is added to it any more."""
        with self._lock:
            self._captures = [other for other in self._captures if other is not capture]
            capture.is_over = True
            return Packets(capture.caps, tuple(capture.packets), capture.opening, capture.cut)

    def _packet(self, buffer: Any, caps: Any) -> Packet:
        kept = buffer.copy_deep() if caps.get_structure(0).get_name() == LENT else buffer
        is_key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        return Packet(kept, self._clock(), buffer.get_size(), is_key)

    def _is_new(self, pts_ns: int, caps: Any) -> bool:
        if self._is_fresh or not caps.is_equal(self._run.caps):
            return True
        last_ns = self._run.last_pts_ns
        if last_ns is None or pts_ns == Gst.CLOCK_TIME_NONE:
            return False
        return not last_ns - STEP_BACK_NS <= pts_ns <= last_ns + JUMP_NS

    def _restart(self, caps: Any) -> None:
        for capture in self._captures:
            if capture.packets:
                capture.end("the stream was interrupted")
        self._run, self._is_fresh = _Run(caps), False

    def _hand_on(self, packet: Packet) -> None:
        for capture in self._open_captures():
            if not capture.packets:
                capture.caps, capture.opening = self._run.caps, self._run.opening
            if capture.packets or packet.is_key:
                capture.take(packet)

    def _open_captures(self) -> Iterator[Capture]:
        return (capture for capture in self._captures if not capture.is_over)

    def _trim(self, now_ns: int) -> None:
        run = self._run
        while len(run.keys) > 1 and run.keys[1] <= now_ns - self._before_ns:
            run.drop_first_group()
        while run.size > self._max_bytes:
            run.drop_first_group()

    def _first(self, from_ns: int) -> int:
        """Index of the last key frame at or before ``from_ns``; 0 without one, and of a stream silent since before."""
        held = self._run.packets
        if not held or held[-1].arrived_ns < from_ns:
            return 0
        before = (index for index, packet in enumerate(held) if packet.is_key and packet.arrived_ns <= from_ns)
        return max(before, default=0)
