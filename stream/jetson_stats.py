"""The board a run has: temperature, power, GPU load and memory, read slowly by a thread of its own.

Two readers know where the numbers are: jetson-stats (``jtop``) on a Jetson, NVML on other machines with an NVIDIA GPU.
What a machine does not tell is absent from a reading, never 0. Zones and rails come from closed sets, so that they can
be labels.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from stream.types import BoardReading, GpuReading

log = logging.getLogger(__name__)

PERIOD_S = 5.0
"""Between two readings: temperatures change slowly, and reading costs the board time."""
LONGEST_STOP_S = 10.0
JTOP_PERIOD_S = 1.0
OFFLINE_CELSIUS = -200.0
"""jetson-stats gives -256 for a sensor that is switched off."""
MOST_GPUS = 16
OTHER = "other"

ZONES = {
    "cpu": "cpu",
    "gpu": "gpu",
    "soc": "soc",
    "cv": "cv",
    "tj": "junction",
    "tboard": "board",
    "tdiode": "board",
    "board": "board",
}
"""jetson-stats' name without digits and ``thermal`` -> ours; others, such as a disk, are left out."""
RAILS = {
    "VIN": "total",
    "VDD_IN": "total",
    "POM_5V_IN": "total",
    "VDD_CPU_GPU_CV": "cpu_gpu_cv",
    "VDD_GPU_SOC": "gpu_soc",
    "VDD_GPU": "gpu",
    "VDD_CPU_CV": "cpu_cv",
    "VDD_CPU_SOC_MSS": "cpu_soc",
    "VDD_SOC": "soc",
    "VIN_SYS_5V0": "system_5v",
}
"""jetson-stats' name -> ours; the power of all others is summed under ``other``."""


class BoardError(Exception):
    """A reader that cannot read now. Stays inside this module: a board that is silent takes nothing along."""


class BoardReader(Protocol):
    """Where numbers of the board come from. Used by one thread."""

    def read(self) -> BoardReading:
        """The numbers now. Raises BoardError."""

    def close(self) -> None: ...


class JtopReader:
    """A Jetson, through jetson-stats' service."""

    def __init__(self, module: Any) -> None:
        """``module``: jetson-stats' ``jtop``. Raises BoardError when its service does not answer."""
        self._failure = module.JtopException
        self._jtop = module.jtop(interval=JTOP_PERIOD_S)
        try:
            self._jtop.start()
        except (self._failure, OSError) as error:
            raise BoardError(f"jetson-stats does not answer ({error}): sudo systemctl restart jtop") from error

    def read(self) -> BoardReading:
        try:
            if not self._jtop.ok():
                raise BoardError("jetson-stats has gone silent: sudo systemctl restart jtop")
            return board_from_jtop(self._jtop.temperature, self._jtop.power, self._jtop.gpu, self._jtop.memory)
        except (self._failure, OSError) as error:
            raise BoardError(f"jetson-stats cannot be read: {error}") from error

    def close(self) -> None:
        self._jtop.close()


class NvmlReader:
    """NVIDIA GPUs in slots, through the driver's own library."""

    def __init__(self, module: Any) -> None:
        """``module``: nvidia-ml-py's ``pynvml``. Raises BoardError when there is no driver or no GPU."""
        self._nvml = module
        try:
            module.nvmlInit()
            count = min(module.nvmlDeviceGetCount(), MOST_GPUS)
            self._handles = [module.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
        except module.NVMLError as error:
            raise BoardError(f"NVML cannot be used: {error}") from error
        if not self._handles:
            raise BoardError("NVML finds no GPU")

    def read(self) -> BoardReading:
        return BoardReading(gpus=tuple(self._gpu(number, handle) for number, handle in enumerate(self._handles)))

    def close(self) -> None:
        self._asked(self._nvml.nvmlShutdown)

    def _gpu(self, number: int, handle: Any) -> GpuReading:
        nvml = self._nvml
        milliwatts = self._asked(nvml.nvmlDeviceGetPowerUsage, handle)
        rates = self._asked(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._asked(nvml.nvmlDeviceGetMemoryInfo, handle)
        celsius = self._asked(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        return GpuReading(
            number,
            celsius=None if celsius is None else float(celsius),
            watts=None if milliwatts is None else milliwatts / 1000,
            load=None if rates is None else rates.gpu / 100,
            memory_used_bytes=None if memory is None else int(memory.used),
            memory_total_bytes=None if memory is None else int(memory.total),
        )

    def _asked(self, question: Callable[..., Any], *details: Any) -> Any:
        """None for what this GPU does not tell: a slice of one tells neither power nor load."""
        try:
            return question(*details)
        except self._nvml.NVMLError:
            return None


def board_from_jtop(
    temperature: Mapping[str, Any], power: Mapping[str, Any], gpu: Mapping[str, Any], memory: Mapping[str, Any]
) -> BoardReading:
    """jetson-stats' dictionaries (°C, mW, %, KB) as a reading. Pure; what is missing or strange is left out."""
    loads = [_number(_inside(unit, "status", "load")) for unit in gpu.values()]
    known = [load for load in loads if load is not None]
    used, total = (_number(_inside(memory, "RAM", key)) for key in ("used", "tot"))
    return BoardReading(
        celsius=_hottest(temperature),
        watts=_watts(power),
        load=max(known) / 100 if known else None,
        memory_used_bytes=None if used is None else int(used * 1024),
        memory_total_bytes=None if total is None else int(total * 1024),
    )


def _hottest(temperature: Mapping[str, Any]) -> dict[str, float]:
    """Zone -> the hottest of its sensors."""
    hottest: dict[str, float] = {}
    for name, sensor in temperature.items():
        zone = ZONES.get(name.lower().removesuffix("-thermal").rstrip("0123456789"))
        celsius = _number(_inside(sensor, "temp"))
        if zone is None or celsius is None or celsius <= OFFLINE_CELSIUS or _inside(sensor, "online") is False:
            continue
        hottest[zone] = max(celsius, hottest.get(zone, celsius))
    return hottest


def _watts(power: Mapping[str, Any]) -> dict[str, float]:
    """Rail -> watts. The total is the board's input where it is measured, else jetson-stats' sum."""
    watts: defaultdict[str, float] = defaultdict(float)
    for name, rail in (power.get("rail") or {}).items():
        milliwatts = _number(_inside(rail, "power"))
        if milliwatts is not None and _inside(rail, "online") is not False:
            watts[RAILS.get(name.upper(), OTHER)] += milliwatts / 1000
    total = _number(_inside(power, "tot", "power"))
    if total is not None:
        watts["total"] = total / 1000
    return dict(watts)


def _inside(values: Any, *keys: str) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


READERS: tuple[tuple[str, Callable[[Any], BoardReader]], ...] = (("jtop", JtopReader), ("pynvml", NvmlReader))
"""Python module that a reader needs -> the reader, best first."""


def open_board_reader(
    load: Callable[[str], Any] = importlib.import_module,
    readers: Iterable[tuple[str, Callable[[Any], BoardReader]]] = READERS,
) -> BoardReader | None:
    """The first reader that works here; None: this machine tells nothing. ``load`` imports, or raises ImportError."""
    for name, reader in readers:
        try:
            return reader(load(name))
        except ImportError:
            continue
        except BoardError as error:
            log.info("no board metrics through %s: %s", name, error)
    return None


class BoardSampler:
    """Reads the board every ``period_s`` on a thread of its own, and keeps the newest reading."""

    def __init__(self, open_reader: Callable[[], BoardReader | None], *, period_s: float = PERIOD_S) -> None:
        """A reader that fails is closed and opened again; there is no reading meanwhile."""
        self._open_reader = open_reader
        self._period_s = period_s
        self._stop = threading.Event()
        self._newest: BoardReading | None = None
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self._thread.start()

    def newest(self) -> BoardReading | None:
        """From any thread; None: not yet, or not now."""
        return self._newest

    def close(self) -> None:
        """A driver that hangs is not waited for longer than LONGEST_STOP_S."""
        self._stop.set()
        self._thread.join(LONGEST_STOP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            reader = self._open_reader()
            if reader is None:
                return  # nothing to read on this machine
            try:
                self._read_on(reader)
            except BoardError as error:
                log.warning("board metrics: %s", error)
            finally:
                self._newest = None
                reader.close()
            self._stop.wait(self._period_s)

    def _read_on(self, reader: BoardReader) -> None:
        while not self._stop.is_set():
            self._newest = reader.read()
            self._stop.wait(self._period_s)
