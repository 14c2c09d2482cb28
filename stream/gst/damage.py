"""Which decoded pictures were made from broken ones.

After a loss, every picture is predicted from one that lacks something, until a key frame comes. Decoders rarely say
so: they cover up what is missing, and the cover looks like a forgery. What goes into them tells: RTP depayloaders mark
what follows a gap (GST_BUFFER_FLAG_DISCONT), parsers what needs other pictures (GST_BUFFER_FLAG_DELTA_UNIT).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)

HEALED_AFTER_NS = 10_000_000_000
"""Media time after a loss from which pictures count as whole again: some cameras refresh them bit by bit and hardly
ever send a key frame."""
MAX_IN_DECODER = 64
"""Pictures that a decoder may hold."""
NO_TIME = int(Gst.CLOCK_TIME_NONE)


class LossState:
    """Whether what is decoded now stands on something that was lost. Pure."""

    def __init__(self) -> None:
        self.is_damaged = True
        """Before the first key frame nothing can be decoded rightly."""
        self._lost_ns: int | None = None
        self._healed_ns: int | None = None
        """Time of the key frame that ended the damage; what is shown before it may still be predicted across it."""

    def update(self, *, follows_gap: bool, is_key: bool, pts_ns: int | None) -> bool:
        """Of the next encoded picture, in decoding order; ``pts_ns``: None where it has no time."""
        if is_key:
            self._healed_ns = pts_ns if self.is_damaged else self._healed_ns
            self.is_damaged = False
        elif follows_gap or (self.is_damaged and self._lost_ns is None):
            self.is_damaged, self._lost_ns = True, pts_ns
        elif self.is_damaged and _is_later(pts_ns, self._lost_ns, HEALED_AFTER_NS):
            self.is_damaged = False
        return self.is_damaged or _is_later(self._healed_ns, pts_ns, 0)


def _is_later(one_ns: int | None, other_ns: int | None, by_ns: int) -> bool:
    return one_ns is not None and other_ns is not None and one_ns - other_ns > by_ns


class DamageMarks:
    """Carries the state of each picture through one decoder; its probes call it, from one thread each."""

    def __init__(self) -> None:
        self._state = LossState()
        self._damaged: OrderedDict[int, None] = OrderedDict()

    def entered(self, buffer: Any) -> None:
        """An encoded picture goes into the decoder."""
        pts_ns = buffer.pts
        is_damaged = self._state.update(
            follows_gap=buffer.has_flags(Gst.BufferFlags.DISCONT),
            is_key=not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT),
            pts_ns=None if pts_ns == NO_TIME else pts_ns,
        )
        if is_damaged:
            self._damaged[pts_ns] = None
            if len(self._damaged) > MAX_IN_DECODER:  # those that never came out
                self._damaged.popitem(last=False)

    def left(self, buffer: Any) -> None:
        """A picture comes out: a damaged one is marked (GST_BUFFER_FLAG_CORRUPTED), for whoever takes the frame."""
        pts_ns = buffer.pts
        was_damaged = pts_ns in self._damaged
        self._damaged.pop(pts_ns, None)
        if was_damaged or (pts_ns == NO_TIME and self._state.is_damaged):
            buffer.set_flags(Gst.BufferFlags.CORRUPTED)


def is_damaged(buffer: Any) -> bool:
    """Whether a decoded picture is marked as damaged, by us or by its decoder."""
    return bool(buffer.has_flags(Gst.BufferFlags.CORRUPTED))
