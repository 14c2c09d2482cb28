"""One rising time line out of a source's segments. Pure."""

from __future__ import annotations

DEFAULT_STEP_NS = 33_366_667
SMALLEST_STEP_NS = 1_000_000
LONGEST_STEP_NS = 1_000_000_000


class Retimer:
    """Shifts each segment so that it goes on where the one before ended; times never repeat or fall."""

    def __init__(self) -> None:
        self._segment: int | None = None
        self._last_in_ns = 0
        self._last_out_ns: int | None = None
        self._step_ns = DEFAULT_STEP_NS

    def next(self, pts_ns: int | None, segment: int) -> int:
        """The output time of a frame with ``pts_ns`` (None: unknown) in ``segment``."""
        if self._last_out_ns is None:
            return self._begin(pts_ns or 0, segment, 0)
        if pts_ns is None:
            pts_ns = self._last_in_ns + self._step_ns
        step = pts_ns - self._last_in_ns
        if segment != self._segment or not 0 < step <= LONGEST_STEP_NS:
            return self._begin(pts_ns, segment, self._last_out_ns + self._step_ns)
        self._step_ns = max(step, SMALLEST_STEP_NS)
        return self._remember(pts_ns, self._last_out_ns + self._step_ns)

    def _begin(self, pts_ns: int, segment: int, out_ns: int) -> int:
        self._segment = segment
        return self._remember(pts_ns, out_ns)

    def _remember(self, pts_ns: int, out_ns: int) -> int:
        self._last_in_ns, self._last_out_ns = pts_ns, out_ns
        return out_ns
