"""What can be said of the real GPU's door without a GPU; ``make gpu-check`` says the rest."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from engines.cuda import pycuda_device
from engines.cuda.pycuda_device import PycudaDevice
from engines.errors import RuntimeMissingError


class Driver:
    def __init__(self, status: int) -> None:
        self._status = status

    def cuInit(self, flags: int) -> int:  # noqa: N802 - CUDA's name
        assert flags == 0
        return self._status


def no_driver(_: str) -> Driver:
    raise OSError("cannot open shared object file")


@pytest.mark.parametrize(
    ("load", "packages", "reason"),
    [
        (no_driver, {"pycuda"}, "no NVIDIA driver"),
        (lambda _: Driver(100), {"pycuda"}, r"cuInit gave 100\): check nvidia-smi"),
        (lambda _: Driver(0), set(), "pip install pycuda"),
    ],
    ids=["no driver", "driver without a GPU", "no pycuda"],
)
def test_what_is_missing_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[str], Driver], packages: set[str], reason: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(pycuda_device, "find_spec", lambda name: name if name in packages else None)
    with pytest.raises(RuntimeMissingError, match=reason):
        PycudaDevice()


def test_with_driver_pycuda_and_compiler_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(0))
    monkeypatch.setattr(pycuda_device, "find_spec", lambda name: name)
    monkeypatch.setattr(pycuda_device.nvrtc, "unavailable", lambda: None)
    assert pycuda_device.unavailable() is None
