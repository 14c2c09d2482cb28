from __future__ import annotations

import logging

import numpy as np
import pytest

from engines.cuda import pycuda_device
from engines.cuda.choice import preprocessor_for
from engines.cuda.host import HostKernels
from engines.cuda.ports import DeviceBatch, infer_prepared
from engines.cuda.preprocessor import GpuPreprocessor
from engines.errors import RuntimeMissingError
from engines.preprocess import FaceView, Levels, Square
from engines.runtime.ports import TensorSpec
from engines.runtime.scripted import ScriptedBackend
from tests.engines.cuda.fake_gpu import DeviceScripted, FakeGpu
from tests.engines.cuda.pictures import noise_planes

CROPS, MEAN = TensorSpec("crops", (None, 3, 16, 16)), TensorSpec("mean", (None,))


def on_the_gpu(gpu: FakeGpu, crops: TensorSpec = CROPS) -> DeviceScripted:
    return DeviceScripted(gpu, (crops,), (MEAN,), lambda arrays: {"mean": arrays["crops"].mean((1, 2, 3))})


def on_the_processor() -> ScriptedBackend:
    return ScriptedBackend((CROPS,), (MEAN,), lambda arrays: {"mean": arrays["crops"].mean((1, 2, 3))})


def prepared(gpu: FakeGpu) -> tuple[GpuPreprocessor, DeviceBatch]:
    preprocessor = GpuPreprocessor(gpu)
    view = FaceView(noise_planes(64, 48), Square(30.0, 20.0, 40.0))
    return preprocessor, preprocessor.faces([view, view], 16, Levels())


def test_a_backbone_of_the_processor_never_asks_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pycuda_device, "PycudaDevice", lambda: pytest.fail("asked for"))
    assert preprocessor_for(on_the_processor()) is None


def test_a_backbone_of_the_gpu_gets_a_preprocessor(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(kernels)
    monkeypatch.setattr(pycuda_device, "PycudaDevice", lambda: gpu)
    assert isinstance(preprocessor_for(on_the_gpu(gpu)), GpuPreprocessor)


def test_a_gpu_that_cannot_prepare_is_told_and_the_processor_cuts(
    kernels: HostKernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> FakeGpu:
        raise RuntimeMissingError("pycuda is missing: pip install pycuda")

    monkeypatch.setattr(pycuda_device, "PycudaDevice", missing)
    with caplog.at_level(logging.WARNING):
        assert preprocessor_for(on_the_gpu(FakeGpu(kernels))) is None
    assert caplog.messages == ["faces are cut on the CPU: pycuda is missing: pip install pycuda"]


def test_a_prepared_batch_is_read_in_place_or_over_the_host_with_equal_answers(kernels: HostKernels) -> None:
    gpu = FakeGpu(kernels)
    preprocessor, batch = prepared(gpu)
    device = on_the_gpu(gpu)
    answers = [infer_prepared(one, "crops", batch, preprocessor)["mean"] for one in (device, on_the_processor())]
    assert np.array_equal(*answers)
    assert device.batches == [2]


def test_an_input_of_any_size_goes_over_the_host_which_knows_its_shape(kernels: HostKernels) -> None:
    gpu = FakeGpu(kernels)
    preprocessor, batch = prepared(gpu)
    device = on_the_gpu(gpu, TensorSpec("crops", (None, 3, None, None)))
    assert infer_prepared(device, "crops", batch, preprocessor)["mean"].shape == (2,)
    assert device.batches == []
