"""The check itself: what runs on a fake GPU, what each row refuses, and what it says where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from bench import gpu_rows
from bench.gpu_check import main, run_row, table_of
from bench.gpu_rows import ROWS, GpuModel, Lab, MissingPartError
from engines.cuda import pycuda_device
from engines.cuda.host import HostKernels
from engines.errors import RuntimeMissingError
from engines.runtime.ports import Array
from tests.engines.cuda.fake_gpu import DeviceScripted, FakeGpu
from tests.fakes import backbone_of, head_of, spec_of


class Clock:
    """Goes on only as the fake GPU's work says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lab_of(kernels: HostKernels, *, kernel_s: float = 0.001, backbone_s: float = 0.1) -> Lab:
    clock, gpus = Clock(), list[FakeGpu]()

    def open_device() -> FakeGpu:
        gpus.append(TimedGpu(kernels, clock, kernel_s))
        return gpus[-1]

    def open_model() -> GpuModel:
        plain = backbone_of()

        def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
            clock.now += backbone_s
            return plain.infer(arrays)

        return GpuModel(spec_of(), DeviceScripted(gpus[-1], plain.inputs, plain.outputs, run), head_of(0.0))

    return Lab(open_device, open_model, clock, frame_wh=(160, 90), repeats=2, leak_calls=4)


class TimedGpu(FakeGpu):
    def __init__(self, kernels: HostKernels, clock: Clock, kernel_s: float) -> None:
        super().__init__(kernels)
        self._clock, self._kernel_s = clock, kernel_s

    def launch(self, *arguments: object) -> None:
        super().launch(*arguments)  # type: ignore[arg-type]
        self._clock.now += self._kernel_s


def outcome(name: str, lab: Lab, *, require_gpu: bool = False) -> tuple[str, str]:
    result = run_row(name, ROWS[name], lab, require_gpu=require_gpu)
    return result.outcome, result.told


ON_A_FAKE = [
    ("kernels on this processor", r"32 pictures: at most \d/255 off"),
    ("CUDA context", r"1 MiB there and back; \d+ MiB free"),
    ("faces cut on the GPU", r"64 pictures: at most \d/255 off"),
    ("frames reduced on the GPU", r"8 pictures: at most \d/255 off"),
    ("preparing beside the backbone", r"64 crops: 1.00 ms, 0.5 % of the backbone's 200.00 ms \(64000 crops/s\)"),
    ("end to end beside the engine", r"faces/s of the engine's own 320: 99 %"),
    ("streams per GPU", r"63 streams of one face, 5 crops/s each"),
    ("leaks", r"4 steps: \+0.0 MiB on the GPU"),
]


@pytest.mark.parametrize(("name", "told"), ON_A_FAKE, ids=[name for name, _ in ON_A_FAKE])
def test_a_row_does_its_work_on_a_gpu(kernels: HostKernels, name: str, told: str) -> None:
    found, words = outcome(name, lab_of(kernels))
    assert found == "ok", words
    assert re.search(told, words), words


@pytest.mark.parametrize(
    ("name", "kernel_s", "told"),
    [
        ("preparing beside the backbone", 0.03, "15.0 % of the backbone's 200.00 ms .*at most 10 %"),
        ("end to end beside the engine", 0.05, "67 %, at least 85 %"),
    ],
)
def test_a_gpu_that_prepares_too_slowly_fails(kernels: HostKernels, name: str, kernel_s: float, told: str) -> None:
    found, words = outcome(name, lab_of(kernels, kernel_s=kernel_s))
    assert found == "failed"
    assert re.search(told, words), words


def test_kernels_that_are_off_fail(kernels: HostKernels) -> None:
    class Wrong(FakeGpu):
        def copy_out(self, *arguments: object) -> None:
            super().copy_out(*arguments)  # type: ignore[arg-type]
            self._push(lambda: arguments[0].memory.view(np.float32).__iadd__(2))  # type: ignore[attr-defined]

    lab = replace(lab_of(kernels), open_device=lambda: Wrong(kernels))
    assert outcome("faces cut on the GPU", lab) == ("failed", "ValueError: off by 2/255, at most 1/255")


def test_a_step_that_keeps_memory_fails(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaking(FakeGpu):
        def launch(self, *arguments: object) -> None:
            super().launch(*arguments)  # type: ignore[arg-type]
            self.allocate(1000)

    good = lab_of(kernels)
    gpus: list[FakeGpu] = []

    def open_device() -> FakeGpu:
        gpus.append(Leaking(kernels))
        return gpus[-1]

    def open_model() -> GpuModel:
        plain = backbone_of()
        return GpuModel(spec_of(), DeviceScripted(gpus[-1], plain.inputs, plain.outputs, plain.infer), head_of(0.0))

    monkeypatch.setattr(gpu_rows, "LEAK_LIMIT", 4000)
    found, words = outcome("leaks", replace(good, open_device=open_device, open_model=open_model))
    assert found == "failed", words


# Without a GPU


def missing() -> FakeGpu:
    raise MissingPartError("no NVIDIA driver (libcuda.so.1): install it, or run on the CPU")


def lab_without() -> Lab:
    return Lab(missing, missing, frame_wh=(160, 90))  # type: ignore[arg-type]


NEEDS_A_DEVICE = [name for name, _ in ON_A_FAKE if name != "kernels on this processor"]


@pytest.mark.parametrize("name", NEEDS_A_DEVICE)
def test_without_a_gpu_a_row_is_skipped_with_what_is_missing(name: str) -> None:
    assert outcome(name, lab_without()) == ("skipped", "no NVIDIA driver (libcuda.so.1): install it, or run on the CPU")


@pytest.mark.parametrize("name", NEEDS_A_DEVICE)
def test_where_a_gpu_is_required_the_same_skip_is_a_failure(name: str) -> None:
    assert outcome(name, lab_without(), require_gpu=True)[0] == "failed"


def raising(error: Exception) -> Callable[[Lab], str]:
    def row(_: Lab) -> str:
        raise error

    return row


SAID = {
    "fine": (lambda _: "all well", "ok"),
    "no runtime": (raising(RuntimeMissingError("no TensorRT: install it")), "skipped"),
    "no module": (raising(ModuleNotFoundError("No module named 'tensorrt'")), "skipped"),
    "a broken module": (raising(ImportError("cannot import name 'x'")), "failed"),
    "a bug": (raising(KeyError("x")), "failed"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_missing_is_skipped_and_what_is_broken_fails(name: str) -> None:
    row, wanted = SAID[name]
    assert run_row(name, row, lab_without(), require_gpu=False).outcome == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "required", "code"),
    [
        (["fine"], "", 0),
        (["fine", "no runtime"], "", 0),
        (["fine", "no runtime"], "1", 1),
        (["a bug", "fine"], "", 1),
    ],
)
def test_the_exit_code_is_one_when_a_row_failed(
    names: list[str], required: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_GPU", required)
    console = Console(file=StringIO(), width=120)
    assert main({name: SAID[name][0] for name in names}, lab_without(), console) == code  # type: ignore[misc]
    assert all(name in console.file.getvalue() for name in names)  # type: ignore[attr-defined]


def test_the_table_shows_reasons_that_look_like_markup_as_they_are() -> None:
    console = Console(file=StringIO(), width=120)
    console.print(table_of([run_row("x", raising(ValueError("a [/b] c")), lab_without(), require_gpu=False)]))
    assert "a [/b] c" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["TensorRT engines", "TensorRT for RTX engines", "ONNX Runtime on CUDA"])
def test_a_runtime_that_is_not_here_is_skipped_with_a_reason(name: str) -> None:
    found, words = outcome(name, lab_without())
    if found == "ok":
        pytest.skip(f"this machine has it: {words}")
    assert found == "skipped"
    assert words


def test_the_whole_check_runs_on_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if pycuda_device.unavailable() is None:
        pytest.skip("this machine has a GPU: make gpu-check says more")
    monkeypatch.delenv("REQUIRE_GPU", raising=False)
    on_any_machine = {"kernels on this processor", "kernels compiled"}  # seconds each, and tested by themselves
    rows = {name: row for name, row in ROWS.items() if name not in on_any_machine}
    console = Console(file=StringIO(), width=200)
    assert main(rows, console=console) == 0
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    outcomes = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in lines if line.count("│") == 5}
    outcomes.pop("", None)
    assert outcomes == dict.fromkeys(rows, "skipped")
