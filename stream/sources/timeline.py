"""Media time of one stream, cut into segments. Pure: it reads no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

LONGEST_LIVE_GAP_NS = 1_000_000_000
"""A live stream that leaps further forward has lost its thread: a window must not span that."""
RATE_PERIOD_NS = 1_000_000_000


@dataclass(frozen=True)
class Place:
    """Where one frame belongs."""

    segment: int
    pts_ns: int
    """Never falls within a segment."""
    cut: Literal["pts_jump", "caps_change"] | None = None
    """Why a segment begins with this frame, when the source itself went on."""


class Timeline:
    """Places frames in order. A segment ends at ``restart``, at a time jump and at a change of size."""

    def __init__(self, *, rebased: bool, longest_gap_ns: int | None) -> None:
        """``rebased``: each segment starts at 0 (live); otherwise the source's own time is kept (files).

        ``longest_gap_ns``: None lets time leap forward: a file's variable frame rate is as it is.
        """
        self._rebased = rebased
        self._longest_gap_ns = longest_gap_ns
        self._segment = -1
        self._last_ns: int | None = None
        self._zero_ns = 0
        self._size_wh = (0, 0)

    def restart(self) -> None:
        """The next frame begins a new segment: the source was opened again."""
        self._last_ns = None

    def place(self, raw_ns: int, size_wh: tuple[int, int]) -> Place:
        """``raw_ns``: the frame's running time as the pipeline tells it."""
        cut = self._cut(raw_ns, size_wh)
        if cut is not None or self._last_ns is None:
            self._segment += 1
            self._zero_ns = raw_ns if self._rebased else 0
        self._last_ns, self._size_wh = raw_ns, size_wh
        return Place(self._segment, raw_ns - self._zero_ns, cut)

    def _cut(self, raw_ns: int, size_wh: tuple[int, int]) -> Literal["pts_jump", "caps_change"] | None:
        if self._last_ns is None:
            return None
        if size_wh != self._size_wh:
            return "caps_change"
        step_ns = raw_ns - self._last_ns
        too_far = self._longest_gap_ns is not None and step_ns > self._longest_gap_ns
        return "pts_jump" if step_ns < 0 or too_far else None


class FrameRate:
    """Frames per second over about the last second."""

    def __init__(self) -> None:
        self._times_ns: deque[int] = deque(maxlen=1000)

    def add(self, time_ns: int) -> float | None:
        """The rate, about once a second; None in between."""
        if self._times_ns and time_ns < self._times_ns[-1]:
            self._times_ns.clear()
        self._times_ns.append(time_ns)
        elapsed_ns = time_ns - self._times_ns[0]
        if elapsed_ns < RATE_PERIOD_NS:
            return None
        rate = (len(self._times_ns) - 1) * 1e9 / elapsed_ns
        self._times_ns.clear()
        self._times_ns.append(time_ns)
        return rate
