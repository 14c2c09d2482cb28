"""What can be said of the real GPU's door without a GPU; ``make gpu-check`` says the rest."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest

from engines.cuda import pycuda_device
from engines.cuda.preprocessor import GpuPreprocessor
from engines.cuda.pycuda_device import PycudaDevice
from engines.errors import InferenceError, RuntimeMissingError
from engines.preprocess import FaceView, Levels, Square
from tests.engines.cuda.fake_pycuda import FakePycuda, Stream
from tests.engines.cuda.pictures import noise_planes


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


# On a pycuda of the same names and signatures


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[FakePycuda]:
    fake = FakePycuda(integrated=getattr(request, "param", False))
    package = ModuleType("pycuda")
    package.driver = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake)
    monkeypatch.setattr(pycuda_device, "unavailable", lambda: None)
    monkeypatch.setattr(pycuda_device.nvrtc, "compiler_for", lambda major: Compiler(major))
    pycuda_device._primary_context.cache_clear()
    yield fake
    pycuda_device._primary_context.cache_clear()


class Compiler:
    def __init__(self, driver_major: int) -> None:
        self._driver_major = driver_major

    def machine_code(self, sm: int) -> bytes:
        return f"sm_{sm} for CUDA {self._driver_major}".encode()


def test_the_kernels_are_compiled_for_this_gpu_and_its_driver(cuda: FakePycuda) -> None:
    PycudaDevice()
    assert cuda.of("module") == [(b"sm_87 for CUDA 12",)]


def test_every_call_leaves_the_thread_without_a_context_as_it_found_it(cuda: FakePycuda) -> None:
    device = PycudaDevice()
    address, staging = device.allocate(64), device.staging(64)
    device.copy_in(address, staging, 16)
    device.copy_out(staging, address, 32)
    device.synchronise()
    device.release(staging)
    device.free(address)
    assert device.free_bytes() == 5
    assert cuda.pushed == 0
    (stream,) = {call[2] for call in cuda.of("htod") + cuda.of("dtoh")}
    assert (cuda.of("htod"), cuda.of("dtoh")) == ([(address, 16, stream)], [(address, 32, stream)])


def test_a_launch_is_what_the_kernels_expect(cuda: FakePycuda) -> None:
    stream = Stream(cuda)
    device = PycudaDevice(stream=stream)
    device.launch("crop_faces", (7, 28, 64), [np.uint64(1 << 40), np.int32(224)])
    packed = struct.pack("Li", 1 << 40, 224)
    assert cuda.of("launch") == [("crop_faces", packed, (32, 8, 1), (7, 28, 64), stream)]


@pytest.mark.parametrize(("cuda", "flags", "address"), [(False, 1, None), (True, 2, 77)], indirect=["cuda"])
def test_memory_is_mapped_where_the_gpu_shares_it(cuda: FakePycuda, flags: int, address: int | None) -> None:
    staging = PycudaDevice().staging(64)
    assert (staging.memory.shape, staging.address) == ((64,), address)
    assert cuda.of("pagelocked_empty") == [(64, flags)]


@pytest.mark.parametrize("call", ["mem_alloc", "synchronize", "launch"])
def test_what_cuda_refuses_is_one_line_of_ours(cuda: FakePycuda, call: str) -> None:
    device = PycudaDevice()
    calls = {
        "mem_alloc": lambda: device.allocate(8),
        "synchronize": device.synchronise,
        "launch": lambda: device.launch("letterbox", (1, 1, 1), []),
    }
    cuda.fails = call
    with pytest.raises(InferenceError) as told:
        calls[call]()
    assert str(told.value) == f"CUDA failed: {call} failed: an illegal address; check nvidia-smi"
    assert cuda.pushed == 0


def test_a_gpu_that_cannot_be_opened_is_missing(cuda: FakePycuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise cuda.Error("cuDeviceGet failed: invalid device ordinal")

    monkeypatch.setattr(cuda, "Device", refuse)
    with pytest.raises(RuntimeMissingError, match=r"GPU 3 cannot be opened: .*invalid device ordinal; check"):
        PycudaDevice(3)


def test_a_pycuda_of_another_cuda_is_told_how_to_mend_it(cuda: FakePycuda, monkeypatch: pytest.MonkeyPatch) -> None:
    del cuda
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(RuntimeMissingError, match=r"pycuda cannot be imported: .*; install it again"):
        PycudaDevice()


def test_closing_frees_what_is_left_once_and_then_refuses(cuda: FakePycuda) -> None:
    device = PycudaDevice()
    device.allocate(8)
    device.staging(8)
    device.close()
    device.close()
    assert cuda.live == 0
    with pytest.raises(InferenceError, match="closed"):
        device.allocate(8)


def test_two_devices_of_one_gpu_share_its_context(cuda: FakePycuda) -> None:
    PycudaDevice()
    PycudaDevice()
    assert cuda.of("retain") == [(0,)]


def test_the_preprocessor_runs_on_it(cuda: FakePycuda) -> None:
    preprocessor = GpuPreprocessor(PycudaDevice())
    planes = noise_planes(64, 48)
    preprocessor.faces([FaceView(planes, Square(30.0, 20.0, 25.0))], 32, Levels())
    preprocessor.letterbox(planes, (32, 24), (32, 32), Levels())
    preprocessor.forget()
    preprocessor.close()
    assert [call[0] for call in cuda.of("launch")] == ["crop_faces", "letterbox"]
    assert cuda.live == 0
