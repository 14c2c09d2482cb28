"""CPU time: of this process by thread, of another process, and of the networks inside the analysis thread."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from engines.runtime.ports import Array, Backend
from engines.runtime.wrapped import WrappedBackend


@dataclass
class Meter:
    """What the networks took: CPU of the calling thread and runs, by stage."""

    cpu_s: Counter[str] = field(default_factory=Counter)
    wall_s: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Meter:
        return Meter(Counter(self.cpu_s), Counter(self.wall_s), Counter(self.runs), Counter(self.rows))

    def since(self, before: Meter) -> Meter:
        return Meter(*(_less(mine, theirs) for mine, theirs in zip(self._counters(), before._counters(), strict=True)))

    def waited_s(self, stage: str) -> float:
        """Time in which the caller waited for the runtime's own threads, or for the device."""
        return max(0.0, self.wall_s[stage] - self.cpu_s[stage])

    def _counters(self) -> tuple[Counter[str], ...]:
        return self.cpu_s, self.wall_s, self.runs, self.rows


def _less(after: Counter[str], before: Counter[str]) -> Counter[str]:
    return Counter({key: value - before[key] for key, value in after.items()})


class MeteredBackend(WrappedBackend):
    """A Backend that tells a meter what each run took on the calling thread; a runtime's own threads are read apart."""

    def __init__(self, inner: Backend, meter: Meter, stage: str) -> None:
        super().__init__(inner)
        self._meter, self._stage = meter, stage

    @property
    def infer_device(self) -> Callable[[Mapping[str, int], int], dict[str, Array]] | None:
        """As the inner one's; None while that reads no device memory."""
        inner: Callable[[Mapping[str, int], int], dict[str, Array]] | None = getattr(self._inner, "infer_device", None)
        if inner is None:
            return None
        return lambda pointers, batch: self._metered(batch, lambda: inner(pointers, batch))

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._metered(len(next(iter(arrays.values()))), lambda: self._inner.infer(arrays))

    def _metered(self, rows: int, run: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        try:
            return run()
        finally:
            self._meter.cpu_s[self._stage] += time.thread_time() - began_cpu_s  # type: ignore[assignment]
            self._meter.wall_s[self._stage] += time.perf_counter() - began_s  # type: ignore[assignment]
            self._meter.runs[self._stage] += 1
            self._meter.rows[self._stage] += rows


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds used so far."""

    at_ns: int
    total_s: float
    by_thread: Mapping[int, tuple[str, float]]
    others_s: float
    """Of the cameras' processes."""
    machine_s: float
    """Of the whole machine, so that a report can say how busy it was with other things."""


def thread_ids() -> set[int]:
    """Native ids of this process's threads."""
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def read_cpu(others: Sequence[psutil.Process] = ()) -> CpuReading:
    own = psutil.Process().cpu_times()
    return CpuReading(time.monotonic_ns(), own.user + own.system, _by_thread(), used_s(others), machine_s())


def machine_s() -> float:
    """CPU seconds of the whole machine so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def used_s(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds of other processes so far."""
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def _by_thread() -> dict[int, tuple[str, float]]:
    names: dict[int, str] = {}
    for path in Path("/proc/self/task").iterdir():
        try:
            names[int(path.name)] = (path / "comm").read_text().strip()
        except OSError:  # the thread has ended meanwhile
            continue
    names.update({thread.native_id: thread.name for thread in threading.enumerate() if thread.native_id})
    used = psutil.Process().threads()
    return {thread.id: (names.get(thread.id, "?"), thread.user_time + thread.system_time) for thread in used}


def shares_by_name(before: CpuReading, after: CpuReading, known: Mapping[int, str]) -> dict[str, float]:
    """CPU seconds per second between two readings, added up by the threads' names; ``known`` names win. Pure."""
    seconds = (after.at_ns - before.at_ns) / 1e9
    shares: dict[str, float] = {}
    for thread, (own_name, used_s) in after.by_thread.items():
        name = known.get(thread, own_name)
        shares[name] = shares.get(name, 0.0) + (used_s - before.by_thread.get(thread, (name, 0.0))[1]) / seconds
    return shares
