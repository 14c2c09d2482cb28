"""The driver's library, scripted: only the calls the driver really has, answered as it answers."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from stream.doctor.gpu import DRIVER, gpu_names

FAILED = 100
"""CUDA_ERROR_NO_DEVICE."""


class ScriptedDriver:
    """libcuda with these GPUs. Handles are not the numbers, to catch whoever mixes them up."""

    def __init__(self, names: list[str], *, fails: str = "") -> None:
        self._names, self._fails = names, fails

    def __call__(self, library: str) -> ScriptedDriver:
        assert library == DRIVER
        return self

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"libcuda has no {name} here")

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's name
        assert flags == 0
        return FAILED if self._fails == "cuInit" else 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._names)
        return FAILED if self._fails == "cuDeviceGetCount" else 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = number + 40
        return 0

    def cuDeviceGetName(self, text: Any, size: int, device: ctypes.c_int) -> int:  # noqa: N802
        if self._fails == "cuDeviceGetName":
            return FAILED
        text.value = self._names[device.value - 40].encode()[: size - 1]
        return 0


def no_driver(library: str) -> Any:
    raise OSError(f"{library}: cannot open shared object file")


def test_a_machine_without_a_driver_has_no_gpu() -> None:
    assert gpu_names(no_driver) == ()


@pytest.mark.parametrize("call", ["cuInit", "cuDeviceGetCount"])
def test_a_driver_without_a_gpu_has_none(call: str) -> None:
    assert gpu_names(ScriptedDriver(["ghost"], fails=call)) == ()


def test_every_gpu_is_named_in_order() -> None:
    assert gpu_names(ScriptedDriver(["NVIDIA H200", "Orin"])) == ("NVIDIA H200", "Orin")


def test_a_gpu_that_has_no_name_is_counted() -> None:
    assert gpu_names(ScriptedDriver(["?"], fails="cuDeviceGetName")) == ("GPU 0",)


def test_this_machine_answers_without_raising() -> None:
    assert all(isinstance(name, str) and name for name in gpu_names())
