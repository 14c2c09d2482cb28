"""How long a batch that could start now waits for the others that are about to fall due."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchWindow:
    """Open from the first due frame, for ``length_ns`` at most."""

    began_ns: int
    length_ns: int

    @property
    def ends_ns(self) -> int:
        return self.began_ns + self.length_ns

    def left_s(self, now_ns: int, missing: int) -> float:
        """Seconds worth waiting: none when nobody is ``missing``, or when the time is over."""
        return max(0, self.ends_ns - now_ns) / 1e9 if missing else 0.0
