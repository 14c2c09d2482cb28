"""Which decoded pictures were made from broken ones.

After a loss, every picture is predicted from one that lacks something, until a key picture comes. Decoders rarely say
so: they cover up what is missing, and the cover looks like a forgery. What goes into them tells: depayloaders mark what
follows a gap (GST_BUFFER_FLAG_DISCONT), parsers what needs other pictures (GST_BUFFER_FLAG_DELTA_UNIT).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

from stream.gst.key_pictures import stands_alone  # noqa: E402

Gst.init(None)

HEALED_AFTER_NS = 10_000_000_000
"""After a loss from which pictures count as whole again: some streams never have a key picture."""
LEADS_NS = 2_000_000_000
"""How far before its key picture one that is decoded after it may be shown."""
MAX_IN_DECODER = 64
"""Pictures that a decoder and the queues behind it may hold."""
MAX_DECODERS = 4
"""Of one session, whose pictures may still be on their way."""


@dataclass(frozen=True)
class Encoded:
    """A picture on its way into a decoder, in decoding order."""

    is_key: bool
    """It, or a parser for it, says that decoding may begin here."""
    stands_alone: bool
    """Nothing before it is needed; otherwise a key picture only begins a refresh that the next one ends."""
    follows_gap: bool
    at_ns: int
    """When it came, on any steady clock."""
    pts_ns: int | None
    """None where it has no time."""


class LossState:
    """Whether what is decoded now stands on something that was lost. Pure."""

    def __init__(self, *, gaps_are_losses: bool = True) -> None:
        """``gaps_are_losses``: packets come singly, so that a gap may have cost a part of the very picture it marks.

        Otherwise, in files and segments, whole pictures are missing before it.
        """
        self._gaps_are_losses = gaps_are_losses
        self.is_damaged = True
        """Before the first key picture nothing can be decoded rightly."""
        self._lost: Encoded | None = None
        self._healed_ns: int | None = None
        """Time of the key picture that ended the damage; what is shown before it may be predicted across it."""
        self._is_refreshing = False
        self._before: Encoded | None = None

    def update(self, picture: Encoded) -> bool:
        """Whether this picture, in decoding order the next, is damaged."""
        before, self._before = self._before, picture
        if self._lost is None:
            self._lost = picture  # of a stream that was joined in its middle
        if picture.is_key and not (self._gaps_are_losses and self._lacks_parts(picture, before)):
            self._heal(picture)
        elif picture.follows_gap and before is not None:
            self._lose(picture)
        elif self.is_damaged and _is_long_after(picture, self._lost):
            self.is_damaged = False
        return self.is_damaged or _is_shown_before(picture, self._healed_ns)

    def _lacks_parts(self, picture: Encoded, before: Encoded | None) -> bool:
        """Depayloaders may make two pictures of the one that the gap lies in; both have its time."""
        if before is None:
            return False
        is_rest = self.is_damaged and picture.pts_ns is not None and picture.pts_ns == before.pts_ns
        return picture.follows_gap or is_rest

    def _heal(self, key: Encoded) -> None:
        if not self.is_damaged:
            self._healed_ns = None
        elif key.stands_alone or self._is_refreshing:
            self.is_damaged, self._is_refreshing, self._healed_ns = False, False, key.pts_ns
        else:
            self._is_refreshing = True

    def _lose(self, picture: Encoded) -> None:
        self.is_damaged, self._is_refreshing, self._lost = True, False, picture


def _is_long_after(picture: Encoded, lost: Encoded) -> bool:
    """By its time or by when it came: times may stand still or begin anew."""
    if picture.at_ns - lost.at_ns > HEALED_AFTER_NS:
        return True
    return None not in (picture.pts_ns, lost.pts_ns) and (picture.pts_ns or 0) - (lost.pts_ns or 0) > HEALED_AFTER_NS


def _is_shown_before(picture: Encoded, key_ns: int | None) -> bool:
    """Shortly before: a time that lies far behind the key's has begun anew."""
    return picture.pts_ns is not None and key_ns is not None and 0 < key_ns - picture.pts_ns <= LEADS_NS


class Entrance:
    """What goes into one decoder; called before it, from one thread."""

    def __init__(self, *, gaps_are_losses: bool) -> None:
        self._state = LossState(gaps_are_losses=gaps_are_losses)
        self.damaged: OrderedDict[int, None] = OrderedDict()
        """Times of the pictures that went in damaged, the newest ``MAX_IN_DECODER``."""
        self.is_used = False

    @property
    def is_damaged(self) -> bool:
        """The newest picture."""
        return self._state.is_damaged

    def entered(self, buffer: Any, caps: Any) -> None:
        """An encoded picture goes into the decoder."""
        self.is_used = True
        is_key, pts_ns = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT), _pts_of(buffer)
        is_gap = buffer.has_flags(Gst.BufferFlags.DISCONT)
        alone = is_key and (not self._state.is_damaged or stands_alone(buffer, caps))
        damaged = self._state.update(Encoded(is_key, alone, is_gap, time.monotonic_ns(), pts_ns))
        if pts_ns is None:
            return
        if damaged:
            self.damaged[pts_ns] = None
            if len(self.damaged) > MAX_IN_DECODER:  # the oldest have long come out
                self.damaged.popitem(last=False)
        else:
            self.damaged.pop(pts_ns, None)


class DamageMarks:
    """Carries the state of each picture past the decoders of one session, by its time.

    ``opened`` is called before a decoder, ``stamp`` behind all of them, from one thread.
    """

    def __init__(self) -> None:
        self._entrances: tuple[Entrance, ...] = ()
        self._foreign_since_ns: int | None = None

    def opened(self, *, gaps_are_losses: bool) -> Entrance:
        """Of a decoder: a stream may change its codec, and of a file's second picture track one picture is decoded."""
        entrance = Entrance(gaps_are_losses=gaps_are_losses)
        self._entrances = (*self._entrances[1 - MAX_DECODERS :], entrance)
        return entrance

    def stamp(self, buffer: Any) -> None:
        """A picture has come out: GST_BUFFER_FLAG_CORRUPTED says from now on whether it is damaged.

        Elements between the decoder and here may drop flags, but keep times.
        """
        if self._was_damaged(_pts_of(buffer)) or self._is_foreign(buffer):
            buffer.set_flags(Gst.BufferFlags.CORRUPTED)
        else:
            buffer.unset_flags(Gst.BufferFlags.CORRUPTED)

    def _was_damaged(self, pts_ns: int | None) -> bool:
        used = [entrance for entrance in self._entrances if entrance.is_used]
        if pts_ns is None:
            return bool(used) and used[-1].is_damaged
        return any(pts_ns in entrance.damaged for entrance in used)

    def _is_foreign(self, buffer: Any) -> bool:
        """Whether the decoder marks it; one that marks all, since it never met a key picture, is not believed."""
        if not buffer.has_flags(Gst.BufferFlags.CORRUPTED):
            self._foreign_since_ns = None
            return False
        pts_ns = _pts_of(buffer)
        now_ns = time.monotonic_ns() if pts_ns is None else pts_ns
        if self._foreign_since_ns is None:
            self._foreign_since_ns = now_ns
        return 0 <= now_ns - self._foreign_since_ns <= HEALED_AFTER_NS


def _pts_of(buffer: Any) -> int | None:
    pts_ns = buffer.pts
    return None if pts_ns == Gst.CLOCK_TIME_NONE else int(pts_ns)


def is_damaged(buffer: Any) -> bool:
    """Whether a decoded picture is marked as damaged."""
    return bool(buffer.has_flags(Gst.BufferFlags.CORRUPTED))
