"""Engines run through the real executor and the real port, on a pycuda and a libcuda that forgive nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from engines.errors import InferenceError, RuntimeMissingError
from engines.tensorrt import driver, pycuda_port
from engines.tensorrt.api import Api
from engines.tensorrt.cuda_ports import HostBuffer
from engines.tensorrt.engine import LoadedEngine
from engines.tensorrt.executor import TensorRtBackend
from engines.tensorrt.pycuda_port import PycudaCuda
from tests.engines.tensorrt.fake_pycuda_driver import Gpu, Libcuda, driver_of
from tests.engines.tensorrt.fake_tensorrt import World, plan

Bring = Callable[[Gpu], Gpu]


@pytest.fixture
def bring(monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Puts a GPU into this machine, as pycuda and ctypes find it."""

    def brought(gpu: Gpu) -> Gpu:
        package, module = ModuleType("pycuda"), driver_of(gpu)
        package.driver = module  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pycuda", package)
        monkeypatch.setitem(sys.modules, "pycuda.driver", module)
        monkeypatch.setattr(driver, "unavailable", lambda: None)
        monkeypatch.setattr(pycuda_port, "pycuda_missing", lambda: None)
        monkeypatch.setattr("ctypes.CDLL", lambda name: Libcuda(gpu) if name == driver.DRIVER else pytest.fail(name))
        return gpu

    return brought


def backend_on(gpu: Gpu) -> TensorRtBackend:
    """y = 2 x, in batches of 1, 2 and 4."""
    world = World(cuda=gpu)  # type: ignore[arg-type]  # it asks the GPU to read, write and queue alone
    api = Api(world.module, "tensorrt")
    return TensorRtBackend("tensorrt", lambda: (PycudaCuda(), LoadedEngine(api, plan())))


def rows(count: int, start: float = 0) -> dict[str, Any]:
    return {"x": np.arange(start, start + 3 * count, dtype=np.float32).reshape(count, 3)}


def is_clean(gpu: Gpu) -> bool:
    return (gpu.alive, gpu.retained, gpu.wrongs) == (0, 0, [])


@pytest.mark.parametrize("integrated", [False, True], ids=["copied", "mapped"])
@pytest.mark.parametrize("captures", [False, True])
def test_an_engine_answers_and_leaves_nothing(bring: Bring, integrated: bool, captures: bool) -> None:
    gpu = bring(Gpu(integrated=integrated, captures=captures))
    backend = backend_on(gpu)
    for count in (1, 2, 3, 4, 9, 1, 2, 4) * 3:
        np.testing.assert_array_equal(backend.infer(rows(count, count))["y"], 2 * rows(count, count)["x"])
    backend.close()
    backend.close()
    assert is_clean(gpu)
    assert (gpu.launched > 0) is captures
    assert ("memcpy_htod_async" in gpu.calls) is not integrated


def test_the_context_is_the_first_to_come_and_the_last_to_go(bring: Bring) -> None:
    gpu = bring(Gpu())
    backend = backend_on(gpu)
    backend.infer(rows(2))
    backend.close()
    assert gpu.calls[:3] == ["init", "retain", "push"]
    assert gpu.calls[-2:] == ["pop", "detach"]
    assert (gpu.calls.count("push"), gpu.calls.count("pop")) == (1, 1)


def test_a_thousand_calls_take_no_more_memory_than_a_few(bring: Bring) -> None:
    gpu = bring(Gpu())
    backend = backend_on(gpu)
    for turn in range(20):
        backend.infer(rows(1 + turn % 9))
    alive = gpu.alive
    for turn in range(1000):
        backend.infer(rows(1 + turn % 9))
    assert gpu.alive == alive
    backend.close()
    assert is_clean(gpu)


@pytest.mark.parametrize("call", ["synchronize", "memcpy_htod_async", "memcpy_dtoh_async"])
def test_a_call_that_fails_is_one_line_and_the_next_one_may_succeed(bring: Bring, call: str) -> None:
    gpu = bring(Gpu())
    backend = backend_on(gpu)
    backend.infer(rows(3))
    gpu.fails = call
    said = f"^CUDA failed: {call} failed: an illegal memory access; check nvidia-smi$"
    with pytest.raises(InferenceError, match=said):
        backend.infer(rows(3))
    gpu.fails = ""
    np.testing.assert_array_equal(backend.infer(rows(3))["y"], 2 * rows(3)["x"])
    backend.close()
    assert is_clean(gpu)


def test_a_graph_that_cannot_be_launched_is_one_line(bring: Bring) -> None:
    gpu = bring(Gpu())
    backend = backend_on(gpu)
    for _ in range(6):
        backend.infer(rows(2))
    gpu.fails = "launch"
    with pytest.raises(InferenceError, match=r"CUDA could not launch a graph \(error 700\): check nvidia-smi"):
        backend.infer(rows(2))
    backend.close()
    assert is_clean(gpu)


@pytest.mark.parametrize("call", ["stream", "mem_alloc", "pagelocked_empty"])
def test_an_engine_that_finds_no_memory_leaves_nothing(bring: Bring, call: str) -> None:
    gpu = bring(Gpu())
    gpu.fails = call
    with pytest.raises(InferenceError, match=f"CUDA failed: {call} failed"):
        backend_on(gpu)
    assert is_clean(gpu)


def test_a_gpu_that_cannot_be_opened_is_said_as_one_that_is_missing(bring: Bring) -> None:
    gpu = bring(Gpu())
    gpu.fails = "device"
    said = r"^GPU 0 cannot be opened: cuDeviceGet failed: .*; check nvidia-smi$"
    with pytest.raises(RuntimeMissingError, match=said):
        PycudaCuda()
    assert is_clean(gpu)


def test_a_pycuda_of_another_cuda_says_what_to_do(bring: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(Gpu())
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(RuntimeMissingError, match=r"pycuda cannot be imported \(.*\): build it again for this CUDA"):
        PycudaCuda()


def test_without_pycuda_that_is_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "unavailable", lambda: None)
    monkeypatch.setattr(pycuda_port, "pycuda_missing", lambda: "no pycuda: pip install pycuda")
    with pytest.raises(RuntimeMissingError, match="no pycuda: pip install pycuda"):
        PycudaCuda()


def test_the_stand_in_forgives_nothing(bring: Bring) -> None:
    bring(Gpu())
    cuda = PycudaCuda()
    stream, memory, buffer = cuda.stream(), cuda.allocate(8), cuda.host(8)
    cuda.copy_in(memory, buffer, 8, stream)
    with pytest.raises(AssertionError, match="freed while work is queued"):
        cuda.release(buffer)
    cuda.synchronise(stream)
    cuda.copy_in(memory, HostBuffer(np.zeros(8, np.uint8), None), 8, stream)
    with pytest.raises(AssertionError, match="not page-locked"):
        cuda.synchronise(stream)
    with pytest.raises(AssertionError, match="1 things outlive their context"):
        cuda.close()
    with pytest.raises(AssertionError, match="without a current context"):
        cuda.allocate(8)
