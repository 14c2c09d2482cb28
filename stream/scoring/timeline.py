"""A series of scores that never outgrows its memory: when it is full, every other point goes."""

from __future__ import annotations

LIMIT = 4096
"""Points kept: 13 minutes at five scores a second before the first thinning."""


class Timeline:
    """Points (pts_ns, value) in the order given, thinned evenly: the first point and the whole span stay."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._stride = 1
        self._added = 0
        self._points: list[tuple[int, float]] = []

    def add(self, pts_ns: int, value: float) -> None:
        if self._added % self._stride == 0:
            self._points.append((pts_ns, value))
        self._added += 1
        if len(self._points) > self._limit:
            self._points = self._points[::2]
            self._stride *= 2

    def points(self) -> tuple[tuple[int, float], ...]:
        """Oldest first."""
        return tuple(self._points)
