"""Whether the analysis thread keeps up, by measurement, and what each stream gives up when it does not.

Every step that the thread works on live frames is told; the busy share of the last seconds decides. A level is a number
of steps down a ladder: low priority to every second slot, then normal, then high, then low to every third, …
While streams come, each costs more than it will: that burst says nothing, and no rung is taken for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace

from stream.scheduling.plan import Priority


@dataclass(frozen=True)
class OverloadPolicy:
    """When to go down and up the ladder. Raises ValueError when the way back would lead into overload again."""

    busy_above: float = 0.95
    """Share of the time that the thread may work before sampling is thinned out; 1: never."""
    busy_below: float = 0.45
    """Share under which it recovers: one rung at most doubles the work, so half the limit cannot flap."""
    window_s: float = 3.0
    """How much of the past counts, and how long a rung must be borne before the next."""
    calm_s: float = 10.0
    """How long the load must have been low before one rung is taken back."""
    clear_below: float = 0.3
    """Share under which ``window_s`` is long enough for that: even twice the work would be far from the limit."""
    settle_s: float = 3.0
    """How long after a stream's first look the load says nothing: coming costs what staying does not."""
    longest_settle_s: float = 10.0
    """The same, however many streams come one after the other."""

    def __post_init__(self) -> None:
        if not 0 < self.busy_above <= 1 or not 0 <= self.busy_below <= self.busy_above / 2:
            raise ValueError("busy_above must be over 0 and at most 1, busy_below at most half of it")
        if not 0 <= self.clear_below <= self.busy_below:
            raise ValueError("clear_below must be 0 or more and not over busy_below")
        if not 0 < self.window_s <= self.calm_s:
            raise ValueError("window_s must be over 0 and not longer than calm_s")
        if not 0 <= self.settle_s <= self.longest_settle_s:
            raise ValueError("settle_s must be 0 or more and not longer than longest_settle_s")


class BusyMeter:
    """Share of the last ``window_ns`` that was worked."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._spans: deque[tuple[int, int]] = deque()

    def add(self, began_ns: int, ended_ns: int) -> None:
        """One stretch of work, in order and without overlap."""
        self._spans.append((began_ns, ended_ns))

    def share(self, now_ns: int) -> float:
        """0-1 of the window that ends now."""
        since = now_ns - self._window_ns
        while self._spans and self._spans[0][1] <= since:
            self._spans.popleft()
        return min(1.0, sum(end - max(begin, since) for begin, end in self._spans) / self._window_ns)


@dataclass(frozen=True)
class _Since:
    changed_ns: int
    """When the level changed, or the last stream had settled."""
    high_ns: int
    """When the load was last too high to take a rung back."""
    not_clear_ns: int
    """When it was last too high to do so at once."""

    @classmethod
    def now(cls, now_ns: int) -> _Since:
        return cls(now_ns, now_ns, now_ns)


@dataclass(frozen=True)
class _Burst:
    """Streams that came one after the other."""

    began_ns: int
    newest_ns: int

    def over_ns(self, policy: OverloadPolicy) -> int:
        """When they have settled."""
        settled_s = (self.newest_ns + policy.settle_s * 1e9, self.began_ns + policy.longest_settle_s * 1e9)
        return round(min(settled_s))


class Overload:
    """The level, by what ``worked`` and ``update`` are told. Used by one thread; time is monotonic."""

    def __init__(self, policy: OverloadPolicy, longest_stride: int) -> None:
        """``longest_stride``: the model's; 1 has no ladder."""
        self._policy, self._longest = policy, longest_stride
        self._meter = BusyMeter(round(policy.window_s * 1e9))
        self._since: _Since | None = None
        self._burst: _Burst | None = None
        self.level = 0

    def arrived(self, now_ns: int) -> None:
        """A stream is looked at for the first time."""
        burst = self._burst
        goes_on = burst is not None and now_ns - burst.newest_ns <= self._policy.settle_s * 1e9
        self._burst = _Burst(burst.began_ns if burst is not None and goes_on else now_ns, now_ns)

    def worked(self, began_ns: int, ended_ns: int) -> None:
        """The thread worked on live frames from one moment to the other."""
        self._meter.add(began_ns, ended_ns)

    def update(self, now_ns: int, present: Collection[Priority]) -> bool:
        """Take a rung if it is time; True when the level changed. ``present``: priorities of the live streams."""
        share, deepest = self._meter.share(now_ns), len(ladder(present, self._longest))
        since = self._seen(self._since or _Since.now(now_ns), share, now_ns)
        before, self.level = self.level, min(self._wanted(share, since, now_ns), deepest)
        self._since = since if self.level == before else _Since.now(now_ns)
        return self.level != before

    def stride(self, priority: Priority, present: Collection[Priority]) -> int:
        """Every how many of its slots a live stream is sampled at this level."""
        return max((n for who, n in ladder(present, self._longest)[: self.level] if who is priority), default=1)

    def _seen(self, since: _Since, share: float, now_ns: int) -> _Since:
        """What ``share`` says of now."""
        if share >= self._policy.busy_below:
            since = replace(since, high_ns=now_ns)
        if share >= self._policy.clear_below:
            since = replace(since, not_clear_ns=now_ns)
        if self._burst is not None and now_ns < self._burst.over_ns(self._policy):
            since = replace(since, changed_ns=now_ns)
        return since

    def _wanted(self, share: float, since: _Since, now_ns: int) -> int:
        policy = self._policy
        if share > policy.busy_above and now_ns - since.changed_ns >= policy.window_s * 1e9:
            return self.level + 1
        is_calm = now_ns - since.high_ns >= policy.calm_s * 1e9
        is_clear = now_ns - since.not_clear_ns >= policy.window_s * 1e9
        return max(0, self.level - 1) if is_calm or is_clear else self.level


def ladder(present: Collection[Priority], longest_stride: int) -> tuple[tuple[Priority, int], ...]:
    """(priority, stride) of each rung: every priority that is there at 1/2, low first, before any at 1/3."""
    return tuple((who, n) for n in range(2, longest_stride + 1) for who in Priority if who in present)
