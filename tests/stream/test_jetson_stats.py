"""The board's numbers, from stand-ins that answer as jetson-stats and NVML do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream.jetson_stats import (
    OTHER,
    RAILS,
    ZONES,
    BoardError,
    BoardSampler,
    JtopReader,
    NvmlReader,
    board_from_jtop,
    open_board_reader,
)
from stream.metrics import Metrics
from stream.types import BoardReading, GpuReading

ORIN = {
    "temperature": {
        "cpu": {"temp": 48.5, "online": True},
        "soc0": {"temp": 46.0, "online": True},
        "soc2": {"temp": 47.25, "online": True},
        "cv0": {"temp": -256, "online": False},
        "tj": {"temp": 49.0, "online": True},
        "nvme Composite": {"temp": 39.0},
    },
    "power": {
        "rail": {
            "VDD_CPU_GPU_CV": {"power": 1250, "online": True},
            "VDD_SOC": {"power": 1500, "online": True},
            "SOMETHING_NEW": {"power": 100, "online": True},
            "ANOTHER": {"power": 150, "online": True},
        },
        "tot": {"power": 5400, "avg": 5300, "name": "VDD_IN"},
    },
    "gpu": {"gpu": {"type": "integrated", "status": {"load": 37.5}}},
    "memory": {"RAM": {"tot": 7_800_000, "used": 3_900_000}},
}


class FakeJtop:
    """jetson-stats' module and client in one; ``plan`` is how each ``ok`` goes."""

    class JtopException(Exception):  # noqa: N818 - its name
        pass

    def __init__(self, *, plan: list[bool] | None = None, refuses: bool = False) -> None:
        self._plan, self._refuses = plan, refuses
        self.closed = 0
        for name, values in ORIN.items():
            setattr(self, name, values)

    def jtop(self, *, interval: float) -> FakeJtop:
        assert interval > 0
        return self

    def start(self) -> None:
        if self._refuses:
            raise self.JtopException("The jtop.service is not active")

    def ok(self) -> bool:
        return True if self._plan is None else self._plan.pop(0)

    def close(self) -> None:
        self.closed += 1


@dataclass
class Memory:
    used: int = 4 * 2**30
    total: int = 80 * 2**30


@dataclass
class Rates:
    gpu: int = 42
    memory: int = 5


class FakeNvml:
    """nvidia-ml-py with so many GPUs; ``untold`` are the questions that they don't answer."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, count: int = 1, *, untold: tuple[str, ...] = ()) -> None:
        self._count, self._untold = count, untold
        self.shut = False

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        self._answer("nvmlInit", None)

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.shut = True

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self._count

    def nvmlDeviceGetHandleByIndex(self, number: int) -> str:  # noqa: N802
        return f"handle {number}"

    def nvmlDeviceGetPowerUsage(self, handle: str) -> Any:  # noqa: N802
        return self._of(handle, "nvmlDeviceGetPowerUsage", 61_500)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        return self._of(handle, "nvmlDeviceGetUtilizationRates", Rates())

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        return self._of(handle, "nvmlDeviceGetMemoryInfo", Memory())

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> Any:  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._of(handle, "nvmlDeviceGetTemperature", 55)

    def _of(self, handle: str, question: str, answer: Any) -> Any:
        assert handle.startswith("handle ")
        return self._answer(question, answer)

    def _answer(self, question: str, answer: Any) -> Any:
        if question in self._untold:
            raise self.NVMLError("Not Supported")
        return answer


@dataclass
class ScriptedReader:
    """Gives its readings, then fails."""

    readings: list[BoardReading] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def read(self) -> BoardReading:
        if not self.readings:
            raise BoardError("unplugged")
        return self.readings.pop(0)

    def close(self) -> None:
        self.closed.set()


def wait_for(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def scraped(reading: BoardReading | None) -> dict[tuple[str, str, str], float]:
    """(metric, zone or rail, gpu) -> value."""
    metrics = Metrics()
    metrics.add_board(lambda: reading)
    samples = [sample for family in text_string_to_metric_families(metrics.scrape()) for sample in family.samples]
    return {
        (
            sample.name.removeprefix("unmask_board_"),
            sample.labels.get("zone") or sample.labels.get("rail") or "",
            sample.labels["gpu"],
        ): sample.value
        for sample in samples
        if sample.name.startswith("unmask_board_")
    }


def test_a_jetsons_numbers_come_in_our_units_and_zones() -> None:
    reading = JtopReader(FakeJtop()).read()
    assert reading.celsius == {"cpu": 48.5, "soc": 47.25, "junction": 49.0}
    assert reading.watts == pytest.approx({"cpu_gpu_cv": 1.25, "soc": 1.5, OTHER: 0.25, "total": 5.4})
    assert reading.load == 0.375
    assert (reading.memory_used_bytes, reading.memory_total_bytes) == (3_900_000 * 1024, 7_800_000 * 1024)


@pytest.mark.parametrize("strange", [{}, {"x": None}, {"RAM": {}}, {"rail": None}, {"gpu": {"status": {"load": "?"}}}])
def test_what_jetson_stats_does_not_tell_is_unknown_and_not_zero(strange: dict[str, Any]) -> None:
    assert board_from_jtop(strange, strange, strange, strange) == BoardReading()


def test_a_jetson_that_goes_silent_is_an_error_and_no_old_number() -> None:
    reader = JtopReader(FakeJtop(plan=[True, False]))
    reader.read()
    with pytest.raises(BoardError, match="systemctl restart jtop"):
        reader.read()


def test_every_gpu_of_a_server_tells_its_own() -> None:
    reading = NvmlReader(FakeNvml(2)).read()
    assert [gpu.number for gpu in reading.gpus] == [0, 1]
    assert reading.gpus[1] == GpuReading(1, 55.0, 61.5, 0.42, 4 * 2**30, 80 * 2**30)


@pytest.mark.parametrize(
    ("question", "unknown"),
    [
        ("nvmlDeviceGetTemperature", "celsius"),
        ("nvmlDeviceGetPowerUsage", "watts"),
        ("nvmlDeviceGetUtilizationRates", "load"),
        ("nvmlDeviceGetMemoryInfo", "memory_used_bytes"),
    ],
)
def test_a_question_that_a_gpu_does_not_answer_leaves_the_others(question: str, unknown: str) -> None:
    (gpu,) = NvmlReader(FakeNvml(untold=(question,))).read().gpus
    assert getattr(gpu, unknown) is None
    assert sum(value is not None for value in (gpu.celsius, gpu.watts, gpu.load, gpu.memory_used_bytes)) == 3


def test_the_first_reader_that_works_is_taken() -> None:
    modules: dict[str, Any] = {"jtop": FakeJtop(refuses=True), "pynvml": FakeNvml()}
    assert isinstance(open_board_reader(modules.__getitem__), NvmlReader)
    assert isinstance(open_board_reader({**modules, "jtop": FakeJtop()}.__getitem__), JtopReader)


@pytest.mark.parametrize("nvml", [FakeNvml(0), FakeNvml(untold=("nvmlInit",))])
def test_a_machine_without_anything_to_read_has_no_reader(nvml: FakeNvml) -> None:
    def load(name: str) -> Any:
        if name == "jtop":
            raise ImportError(name)
        return nvml

    assert open_board_reader(load) is None


def test_this_machine_answers_without_raising() -> None:
    reader = open_board_reader()
    if reader is not None:
        reader.read()
        reader.close()


def test_the_sampler_keeps_the_newest_reading_and_closes_its_reader() -> None:
    reader = ScriptedReader([BoardReading(load=0.1), *[BoardReading(load=0.2)] * 10_000])
    sampler = BoardSampler(lambda: reader, period_s=0.01)
    wait_for(lambda: sampler.newest() == BoardReading(load=0.2))
    sampler.close()
    assert reader.closed.is_set()
    assert sampler.newest() is None


def test_a_reader_that_fails_is_opened_again_and_its_last_number_is_gone() -> None:
    broken, mended = ScriptedReader([BoardReading(load=0.1)]), ScriptedReader([BoardReading(load=0.3)] * 10_000)
    readers, gaps = iter([broken, mended]), []

    def open_reader() -> ScriptedReader:
        gaps.append(None if not gaps else sampler.newest())
        return next(readers)

    sampler = BoardSampler(open_reader, period_s=0.05)
    wait_for(lambda: sampler.newest() == BoardReading(load=0.3))
    sampler.close()
    assert broken.closed.is_set()
    assert gaps == [None, None]


def test_a_machine_with_nothing_to_read_needs_no_thread() -> None:
    sampler = BoardSampler(lambda: None)
    wait_for(lambda: not any(thread.name == "board" for thread in threading.enumerate()))
    assert sampler.newest() is None
    sampler.close()


def test_a_jetsons_gauges_have_no_gpu() -> None:
    shown = scraped(JtopReader(FakeJtop()).read())
    assert shown["temperature_celsius", "cpu", ""] == 48.5
    assert shown["power_watts", "total", ""] == 5.4
    assert shown["gpu_load_ratio", "", ""] == 0.375
    assert shown["memory_used_bytes", "", ""] == 3_900_000 * 1024


def test_a_servers_gauges_name_the_gpu() -> None:
    shown = scraped(NvmlReader(FakeNvml(2)).read())
    assert shown["temperature_celsius", "gpu", "1"] == 55
    assert shown["power_watts", "total", "0"] == 61.5
    assert shown["memory_total_bytes", "", "1"] == 80 * 2**30
    assert len(shown) == 10


@pytest.mark.parametrize("reading", [None, BoardReading(), BoardReading(gpus=(GpuReading(0),))])
def test_what_is_not_known_has_no_series(reading: BoardReading | None) -> None:
    assert scraped(reading) == {}


def test_zones_and_rails_are_closed_sets() -> None:
    wild = {f"zone-{number}": {"temp": 50.0} for number in range(50)}
    rails = {"rail": {f"RAIL_{number}": {"power": 1000} for number in range(50)}}
    reading = board_from_jtop({**wild, **ORIN["temperature"]}, rails, {}, {})
    assert set(reading.celsius) <= set(ZONES.values())
    assert set(reading.watts) <= {*RAILS.values(), OTHER}
    assert reading.watts[OTHER] == pytest.approx(50)
