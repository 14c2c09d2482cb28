"""How the machine is: processor, memory, disk, temperatures."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil

from stream.types import BoardReading
from stream.web.answers import MachineAnswer


class Machine:
    """Looks when it is asked; the processor's share is that since the look before. Safe from any thread."""

    def __init__(self, disk: Path) -> None:
        """``disk``: a folder on the disk whose space matters."""
        self._disk, self._lock = disk, threading.Lock()
        self._before = _cpu_times()

    def look(self, board: BoardReading | None) -> MachineAnswer:
        memory = psutil.virtual_memory()
        free, total = self._space()
        return MachineAnswer(
            cpu_share=self._cpu_share(),
            cores=psutil.cpu_count() or 1,
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            disk_free_bytes=free,
            disk_total_bytes=total,
            celsius=_celsius(board),
        )

    def _cpu_share(self) -> float | None:
        with self._lock:
            before, self._before = self._before, _cpu_times()
            busy, all_of_it = (now - then for now, then in zip(self._before, before, strict=True))
        return round(min(1.0, max(0.0, busy / all_of_it)), 3) if all_of_it > 0 else None

    def _space(self) -> tuple[int | None, int | None]:
        try:
            usage = psutil.disk_usage(str(self._disk))
        except OSError:  # not made yet, or on a disk that is gone
            return None, None
        return usage.free, usage.total


def _cpu_times() -> tuple[float, float]:
    """(busy, all) seconds of all cores since the machine began."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - idle, total


def _celsius(board: BoardReading | None) -> dict[str, float]:
    """The board's own reading, or else what the kernel's sensors tell, by chip: the hottest of each."""
    if board is not None and board.celsius:
        return dict(board.celsius)
    try:
        found = psutil.sensors_temperatures()
    except (AttributeError, OSError):  # no such kernel, or no permission
        return {}
    return {chip: max(sensor.current for sensor in sensors) for chip, sensors in found.items() if sensors}
