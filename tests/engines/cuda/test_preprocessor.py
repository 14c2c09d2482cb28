"""The whole GPU preprocessor, on a fake GPU that runs the real kernels' host build."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engines.cuda.host import HostKernels
from engines.cuda.preprocessor import SPARE_BUFFERS, GpuPreprocessor
from engines.errors import InferenceError
from engines.preprocess import FaceView, Floats, Levels, Planes, Square, crop_planes, levels_of, normalise, reduced_rgb
from engines.spec import PixelSpec
from tests.engines.cuda.fake_gpu import FakeGpu
from tests.engines.cuda.pictures import KINDS, noise_planes

PIXELS = PixelSpec(size=40, colour="bgr", mean=(104.0, 117.0, 123.0), std=(50.0, 60.0, 70.0))
CLOSE = 1 / min(PIXELS.std) + 1e-6
"""1/255 of full scale, on the network's."""


@pytest.fixture(params=[False, True], ids=["copied", "mapped"])
def gpu(kernels: HostKernels, request: pytest.FixtureRequest) -> FakeGpu:
    return FakeGpu(kernels, mapped=request.param)


def views_of(pictures: list[Planes]) -> list[FaceView]:
    squares = [Square(20.0 + 9 * n, 30.0, 30.0 + 11 * n) for n in range(4)]
    return [FaceView(planes, square) for planes in pictures for square in squares]


def wanted(views: list[FaceView]) -> Floats:
    return normalise([crop_planes(view.planes, view.square, PIXELS.size) for view in views], PIXELS)


def cut(preprocessor: GpuPreprocessor, views: list[FaceView]) -> Floats:
    return preprocessor.to_host(preprocessor.faces(views, PIXELS.size, levels_of(PIXELS)))


def test_faces_of_many_frames_equal_the_processors_batch(gpu: FakeGpu) -> None:
    views = views_of([noise_planes(90 + n, 71, kind, pad=5 * n, seed=n) for n, kind in enumerate(KINDS)])
    found = cut(GpuPreprocessor(gpu), views)
    assert (found.shape, found.dtype) == ((32, 3, 40, 40), np.float32)
    assert np.abs(found - wanted(views)).max() <= CLOSE
    assert gpu.launches == ["crop_faces"]


def test_a_frame_is_laid_on_the_detectors_canvas(gpu: FakeGpu) -> None:
    planes, levels = noise_planes(120, 70), Levels(mean=(127.5,) * 3, std=(128.0,) * 3)
    preprocessor = GpuPreprocessor(gpu)
    (found,) = preprocessor.to_host(preprocessor.letterbox(planes, (60, 35), (64, 64), levels))
    canvas = np.zeros((64, 64, 3), np.float32)
    canvas[:35, :60] = reduced_rgb(planes, (60, 35))
    assert np.abs(found - (canvas.transpose(2, 0, 1) - 127.5) / 128).max() <= 1 / 128


def test_a_frame_goes_up_once_for_the_detector_and_all_its_faces(kernels: HostKernels) -> None:
    gpu, planes = FakeGpu(kernels), noise_planes(640, 360)
    preprocessor = GpuPreprocessor(gpu)
    preprocessor.letterbox(planes, (64, 36), (64, 64), Levels())
    cut(preprocessor, views_of([planes]))
    size = 640 * 360 * 3 // 2
    assert size < gpu.copied_in < 1.05 * size


def test_where_memory_is_shared_a_frame_does_not_go_up_at_all(kernels: HostKernels) -> None:
    gpu = FakeGpu(kernels, mapped=True)
    cut(GpuPreprocessor(gpu), views_of([noise_planes(640, 360)]))
    assert gpu.copied_in < 1000


def test_a_borrowed_frame_may_go_as_soon_as_it_is_up(gpu: FakeGpu) -> None:
    planes = noise_planes(100, 80)
    view = FaceView(planes, Square(50.0, 40.0, 60.0))
    right = wanted([view])
    preprocessor = GpuPreprocessor(gpu)
    batch = preprocessor.faces([view], PIXELS.size, levels_of(PIXELS))
    base = planes.y.base
    assert base is not None
    base.flags.writeable = True
    base[:] = 0
    assert np.abs(preprocessor.to_host(batch) - right).max() <= CLOSE


def test_the_next_steps_frame_is_read_anew_though_it_is_the_same_object(gpu: FakeGpu) -> None:
    y, chroma = np.full((64, 64), 60, np.uint8), np.full((32, 32), 128, np.uint8)
    view = FaceView(Planes(y, (chroma, chroma)), Square(32.0, 32.0, 40.0))
    preprocessor = GpuPreprocessor(gpu)
    first = cut(preprocessor, [view])
    y[:] = 200
    assert np.array_equal(cut(preprocessor, [view]), first)  # the same step, the same frame
    preprocessor.forget()
    assert np.abs(cut(preprocessor, [view]) - wanted([view])).max() <= CLOSE


def test_batches_of_any_size_in_any_order_stay_right(gpu: FakeGpu) -> None:
    preprocessor = GpuPreprocessor(gpu)
    for step, count in enumerate([1, 7, 2, 12, 3]):
        views = views_of([noise_planes(70 + step, 60, seed=step) for _ in range(3)])[:count]
        assert np.abs(cut(preprocessor, views) - wanted(views)).max() <= CLOSE
        preprocessor.forget()


def test_what_the_caller_was_given_is_its_own(gpu: FakeGpu) -> None:
    preprocessor = GpuPreprocessor(gpu)
    views = views_of([noise_planes(70, 60)])
    kept = cut(preprocessor, views)
    cut(preprocessor, views_of([noise_planes(70, 60, seed=9)]))
    assert np.abs(kept - wanted(views)).max() <= CLOSE


def test_a_thousand_steps_hold_no_more_memory_than_ten(gpu: FakeGpu) -> None:
    preprocessor, planes = GpuPreprocessor(gpu), [noise_planes(64, 48, seed=n) for n in range(3)]
    held = []
    for step in range(1000):
        for one in planes[: 1 + step % 3]:
            preprocessor.letterbox(one, (32, 24), (32, 32), Levels())
        preprocessor.faces(views_of(planes)[: 1 + step % 9], 16, Levels())
        preprocessor.forget()
        held.append(gpu.live_bytes)
    assert held[-1] == held[20]


def test_cameras_that_come_and_go_with_their_sizes_leave_nothing_for_long(gpu: FakeGpu) -> None:
    preprocessor = GpuPreprocessor(gpu)
    for size in range(64, 64 + 4 * SPARE_BUFFERS):
        preprocessor.letterbox(noise_planes(size, size), (32, 32), (32, 32), Levels())
        preprocessor.forget()
    largest = 2 * 3 * (64 + 4 * SPARE_BUFFERS) ** 2  # a copy on each side
    assert gpu.live_bytes < SPARE_BUFFERS * largest


def test_closing_twice_frees_once_and_a_closed_one_is_told(gpu: FakeGpu) -> None:
    preprocessor = GpuPreprocessor(gpu)
    preprocessor.upload(noise_planes(64, 48))
    preprocessor.close()
    preprocessor.close()
    assert (gpu.live_bytes, gpu.is_open) == (0, False)


def test_a_failing_gpu_raises_and_the_next_step_goes_on(gpu: FakeGpu) -> None:
    preprocessor, views = GpuPreprocessor(gpu), views_of([noise_planes(70, 60)])
    gpu.fails = True
    with pytest.raises(InferenceError, match="out of sorts"):
        cut(preprocessor, views)
    gpu.fails = False
    preprocessor.forget()
    assert np.abs(cut(preprocessor, views) - wanted(views)).max() <= CLOSE


# The fake itself: what CUDA would do wrong silently, it must say


def test_the_fake_does_nothing_before_it_is_waited_for(kernels: HostKernels) -> None:
    gpu = FakeGpu(kernels)
    address, staging = gpu.allocate(4), gpu.staging(4)
    staging.memory[:] = 1
    gpu.copy_in(address, staging, 4)
    staging.memory[:] = 2
    gpu.synchronise()
    assert gpu.view(address, 4).tolist() == [2] * 4


def test_the_fake_knows_whose_memory_is_whose(kernels: HostKernels) -> None:
    gpu = FakeGpu(kernels)
    staging, address = gpu.staging(8), gpu.allocate(8)
    with pytest.raises(AssertionError, match="not the GPU's"):
        gpu.view(staging.memory.ctypes.data, 8)
    with pytest.raises(AssertionError, match="not the GPU's"):
        gpu.copy_in(address + 1, staging, 8)
    with pytest.raises(KeyError):
        gpu.free(address + 1)


def test_the_fake_belongs_to_one_thread_at_a_time(kernels: HostKernels) -> None:
    gpu, refused = FakeGpu(kernels), []

    gpu.copy_in(gpu.allocate(256), gpu.staging(256), 256)

    def use() -> None:
        try:
            gpu.synchronise()
        except AssertionError as error:
            refused.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert refused == ["used by a thread while another one's work is queued"]
