"""A source's frames for several takers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stream.gst.session import VideoTap


@dataclass(frozen=True)
class Taps:
    """A VideoTap that hands each frame on, in order."""

    taps: tuple[VideoTap, ...]

    @classmethod
    def of(cls, *taps: VideoTap | None) -> VideoTap | None:
        """Of those that are there: none, the only one, or all."""
        there = tuple(tap for tap in taps if tap is not None)
        return cls(there) if len(there) > 1 else there[0] if there else None

    def push(self, sample: Any, segment: int) -> None:
        for tap in self.taps:
            tap.push(sample, segment)
