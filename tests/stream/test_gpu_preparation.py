"""Runtimes that read the GPU's memory come in and leave while streams play: faces are cut where the runtime reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from engines.cuda.host import HostKernels
from engines.cuda.ports import Preprocessor, device_inference
from engines.cuda.preprocessor import GpuPreprocessor
from engines.errors import InferenceError
from engines.preprocess import Levels
from engines.runtime.ports import Array, Backend
from engines.runtime.swappable import Fallback, RuntimeChange, SwappableBackend
from engines.spec import ModelSpec
from stream.config import AppConfig, ModelConfig
from stream.faces.quality import QualityLimits
from stream.faces.tracker import open_tracker
from stream.gpu_preparation import GpuPreparation
from stream.observers import StreamFacts
from stream.parts import build_analyzer, open_parts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import FaceBox, Scene, StreamName
from tests.engines.cuda.fake_gpu import DeviceScripted, FakeGpu
from tests.engines.cuda.pictures import noise_planes
from tests.fakes import FixedDetector, ListObserver, backbone_of, frame_of, head_of, spec_of

FACES = (FaceBox((80.0, 60.0, 180.0, 160.0), 0.99),)


class Failing(DeviceScripted):
    """Gives up when it is told to."""

    fails = False

    def infer_device(self, pointers: Mapping[str, int], batch: int) -> dict[str, Array]:
        if self.fails:
            raise InferenceError("the engine is lost: build it again")
        return super().infer_device(pointers, batch)


class House:
    """An analysis on the CPU whose backbone another thread may change; GPUs are made as they are asked for."""

    def __init__(self, kernels: HostKernels) -> None:
        self._kernels = kernels
        self.gpus: list[FakeGpu] = []
        self.makers: list[str] = []
        self.backbone = SwappableBackend(backbone_of(), self.changed, fallback=Fallback("cpu", backbone_of))
        self.scorer = ModelScorer(self.backbone, head_of(0.3), spec_of())
        self.preparation = GpuPreparation(self.backbone, (self.scorer,), self.made)
        self.preparation.follow()
        self.faces: Callable[[], None] = lambda: None
        self.analyzer = Analyzer(
            FixedDetector(lambda _: self.faces() or FACES),
            self.scorer,
            ListObserver(),
            StreamFacts(),
            detect_period_s=0.1,
            quality=QualityLimits(),
            before_step=self.preparation.settle,
        )
        self.stream = StreamAnalysis(StreamName("cam"), open_tracker(lost_after_s=1.0), TrackBook(spec_of()))
        self.seconds = 0.0

    def changed(self, _: RuntimeChange) -> None:
        self.preparation.follow()

    def made(self, _: Backend) -> Preprocessor:
        self.makers.append(threading.current_thread().name)
        return GpuPreprocessor(self.gpus[-1])

    def engine(self) -> Failing:
        """For a new GPU."""
        self.gpus.append(FakeGpu(self._kernels))
        plain = backbone_of()
        return Failing(self.gpus[-1], plain.inputs, plain.outputs, plain.infer)

    def brings(self, backend: Backend) -> None:
        """As a hot start does."""
        thread = threading.Thread(target=self.backbone.swap, args=(backend,), name="engine build")
        thread.start()
        thread.join()

    def step(self) -> tuple[Scene, ...]:
        self.seconds += 0.25
        return self.analyzer.step([(self.stream, frame_of(self.seconds, planes=noise_planes(320, 240)))])


@pytest.fixture
def house(kernels: HostKernels) -> House:
    return House(kernels)


def test_an_engine_that_comes_in_is_prepared_for_by_who_brings_it_and_taken_up_at_the_next_step(house: House) -> None:
    house.step()
    assert not house.scorer.cuts_faces
    house.brings(house.engine())
    assert house.makers == ["engine build"]
    assert not house.scorer.cuts_faces
    house.step()
    assert house.scorer.cuts_faces
    assert house.gpus[0].launches == ["crop_faces"]


def test_an_engine_that_comes_in_within_a_step_changes_nothing_of_it(house: House) -> None:
    engine = house.engine()
    house.faces = lambda: house.brings(engine)
    house.step()
    assert (house.gpus[0].launches, engine.calls) == ([], 1)
    house.faces = lambda: None
    house.step()
    assert (house.gpus[0].launches, engine.batches) == (["crop_faces"], [1])


def test_a_second_engine_of_the_gpu_goes_on_with_what_is_prepared(house: House) -> None:
    first = house.engine()
    house.brings(first)
    house.step()
    house.brings(DeviceScripted(house.gpus[0], first.inputs, first.outputs, backbone_of().infer))
    house.step()
    assert len(house.makers) == 1
    assert house.gpus[0].launches == ["crop_faces"] * 2


def test_an_engine_that_fails_costs_no_step_and_its_gpu_is_given_back(house: House) -> None:
    engine = house.engine()
    house.brings(engine)
    house.step()
    engine.fails = True
    assert house.step()
    assert house.gpus[0].is_open, "given back while the step that met the failure still needed it"
    house.step()
    assert (house.gpus[0].is_open, house.scorer.cuts_faces) == (False, False)
    assert house.gpus[0].launches == ["crop_faces"] * 2


def test_a_runtime_that_leaves_within_a_step_is_read_over_the_host_until_the_step_ends(house: House) -> None:
    house.brings(house.engine())
    house.step()
    house.faces = lambda: house.brings(backbone_of())
    house.step()
    assert house.gpus[0].launches == ["crop_faces"] * 2
    assert house.gpus[0].is_open
    house.faces = lambda: None
    house.step()
    assert not house.gpus[0].is_open


def test_another_engine_may_come_in_after_one_has_left(house: House) -> None:
    for number in range(3):
        house.brings(house.engine())
        house.step()
        assert house.gpus[number].launches == ["crop_faces"]
        house.brings(backbone_of())
        house.step()
        assert not house.gpus[number].is_open


def test_an_engine_that_left_before_it_was_taken_up_leaves_nothing(house: House) -> None:
    house.brings(house.engine())
    house.brings(backbone_of())
    house.step()
    assert (house.gpus[0].is_open, house.scorer.cuts_faces) == (False, False)


class Taker:
    """Uses what it is given."""

    preprocessor: Preprocessor | None = None

    def prepare_on(self, preprocessor: Preprocessor | None) -> None:
        self.preprocessor = preprocessor


def test_frames_that_a_step_has_left_are_let_go_before_the_next(kernels: HostKernels) -> None:
    gpu, taker, plain = FakeGpu(kernels), Taker(), backbone_of()
    engine = DeviceScripted(gpu, plain.inputs, plain.outputs, plain.infer)
    preparation = GpuPreparation(engine, (taker,), lambda _: GpuPreprocessor(gpu))
    preparation.follow()
    sizes = set()
    for number in range(4):
        preparation.settle()
        assert taker.preprocessor is not None
        taker.preprocessor.letterbox(noise_planes(64, 48, seed=number), (32, 24), (32, 32), Levels())
        sizes.add(gpu.live_bytes)
    assert len(sizes) == 1
    preparation.close()
    assert (taker.preprocessor, gpu.is_open) == (None, False)


@pytest.mark.parametrize("within", [False, True], ids=["between two steps", "within one"])
def test_a_gpu_that_is_lost_costs_a_step_at_most_and_the_cpu_goes_on(
    house: House, within: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Were it asked for ever, its backbone would never be asked again, and never fall back."""

    def lose() -> None:
        house.gpus[0].fails = engine.fails = True

    engine = house.engine()
    house.brings(engine)
    house.step()
    if within:
        house.faces = lose
        with pytest.raises(InferenceError, match="out of sorts"):
            house.step()
    else:
        lose()
    assert house.step()
    assert not house.scorer.cuts_faces
    assert "frames are prepared on the CPU from now on: CUDA failed: out of sorts" in caplog.text


def test_a_gpu_that_is_lost_hinders_no_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise InferenceError("CUDA failed: out of sorts; check nvidia-smi")

    house.brings(house.engine())
    house.step()
    monkeypatch.setattr(house.gpus[0], "close", lost)
    house.preparation.close()
    house.preparation.close()
    assert not house.scorer.cuts_faces


class OnDevice:
    """The real graph, of which only the tensors are looked at."""

    name = "tensorrt"

    def __init__(self, real: Backend, gpu: FakeGpu, spec: ModelSpec) -> None:
        self.inputs, self.outputs = real.inputs, real.outputs
        self._scripted = DeviceScripted(gpu, real.inputs, real.outputs, self._answer)
        self._width = spec.window.feature_dim
        self.infer, self.infer_device = self._scripted.infer, self._scripted.infer_device

    def _answer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        count = len(arrays["crops"])
        return {
            "features": np.ones((count, self._width), np.float32),
            "frame_logit": np.zeros((count, 1), np.float32),
        }

    def close(self) -> None:
        self._scripted.close()


def test_what_watch_runs_cuts_faces_on_the_gpu_once_its_engine_is_there(
    kernels: HostKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = FakeGpu(kernels)

    def made(backbone: Backend) -> GpuPreprocessor | None:
        return None if device_inference(backbone) is None else GpuPreprocessor(gpu)

    monkeypatch.setattr("stream.gpu_preparation.GpuPreparation.__init__.__defaults__", (made,))
    config = AppConfig(model=ModelConfig(name="lite0-gru", threads=1))
    parts = open_parts(config)
    analyzer = build_analyzer(config, parts, ListObserver(), StreamFacts())
    stream = StreamAnalysis(StreamName("cam"), open_tracker(lost_after_s=1.0), TrackBook(parts.model.spec))
    frame = frame_of(0.0, planes=noise_planes(320, 240))
    analyzer.step([(stream, frame)])
    assert (parts.backbone is not None, gpu.launches) == (True, [])
    assert parts.backbone is not None
    parts.backbone.swap(OnDevice(parts.backbone, gpu, parts.model.spec))
    analyzer.step([(stream, frame_of(1.0, planes=noise_planes(320, 240)))])
    assert "letterbox" in gpu.launches
    parts.close()
    assert not gpu.is_open
