from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from engines.errors import RuntimeMissingError
from engines.tensorrt.driver import Gpu, find_gpu, l4t_from, unavailable


class FakeDriver:
    """libcuda of one Orin; ``fails`` names the call that gives an error."""

    def __init__(self, count: int = 1, fails: str = "") -> None:
        self.count, self.fails = count, fails

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == self.fails:
                return 100
            self._answer(name, arguments)
            return 0

        return call

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "cuDeviceGetName":
            arguments[0].value = b"Orin"
        elif name == "cuDeviceGetAttribute":
            arguments[0]._obj.value = {75: 8, 76: 7, 18: 1}[arguments[1]]
        elif name != "cuInit":
            numbers = {"cuDeviceGetCount": self.count, "cuDriverGetVersion": 12060, "cuDeviceTotalMem_v2": 8 << 30}
            arguments[0]._obj.value = numbers.get(name, 0)


def absent(_name: str) -> Any:
    raise OSError("cannot open shared object file")


def test_a_gpu_is_described(tmp_path: Path) -> None:
    release, version = tmp_path / "nv_tegra_release", tmp_path / "version"
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n")
    version.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n")
    gpu = find_gpu(load=lambda _name: FakeDriver(), l4t_release=release, driver_version=version)
    assert gpu == Gpu("Orin", 87, "12.6", 8 << 30, True, "540.4.0", "36.4.3")
    assert gpu.machine == "Orin sm_87 L4T 36.4.3"


def test_a_server_has_no_l4t(tmp_path: Path) -> None:
    gpu = find_gpu(load=lambda _name: FakeDriver(), l4t_release=tmp_path / "no", driver_version=tmp_path / "no")
    assert (gpu.machine, gpu.driver) == ("Orin sm_87", "")


@pytest.mark.parametrize("text", ["", "nonsense", "# R (release)"])
def test_a_strange_release_is_none(text: str) -> None:
    assert l4t_from(text) == ""


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (absent, "no NVIDIA driver (libcuda.so.1): install it"),
        (lambda _name: FakeDriver(fails="cuInit"), "does not start (cuInit gave 100): check nvidia-smi"),
        (lambda _name: FakeDriver(count=0), "finds no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"),
        (lambda _name: FakeDriver(fails="cuDeviceGetCount"), "GPUs cannot be counted (CUDA error 100)"),
    ],
)
def test_what_is_missing_is_one_line(load: Any, reason: str) -> None:
    said = unavailable(load)
    assert said is not None
    assert reason in said
    assert "\n" not in said
    with pytest.raises(RuntimeMissingError):
        find_gpu(load=load)


def test_a_gpu_that_cannot_be_described_is_an_error() -> None:
    assert unavailable(lambda _name: FakeDriver(fails="cuDeviceGetAttribute")) is None
    with pytest.raises(RuntimeMissingError, match="cannot be described"):
        find_gpu(load=lambda _name: FakeDriver(fails="cuDeviceGetAttribute"))


def test_the_fake_speaks_ctypes() -> None:
    value = ctypes.c_int()
    assert FakeDriver().cuDeviceGetCount(ctypes.byref(value)) == 0
    assert value.value == 1
