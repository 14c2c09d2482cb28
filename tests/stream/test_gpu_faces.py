"""The live step with faces cut on the GPU: the same scores as on the processor, on a fake GPU with real kernels."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from engines.cuda.host import HostKernels
from engines.cuda.preprocessor import GpuPreprocessor
from engines.errors import InferenceError
from engines.preprocess import Bytes, FaceView, Planes, Square, crop_grey, crop_planes
from stream.faces.quality import QualityLimits, quality_reason
from stream.faces.tracker import open_tracker
from stream.observers import StreamFacts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.ports import Witness
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import FaceBox, Frame, Scene, StreamName, TrackId
from tests.engines.cuda.fake_gpu import DeviceScripted, FakeGpu
from tests.engines.cuda.pictures import KINDS, noise_planes
from tests.fakes import SIZE, FixedDetector, ListObserver, backbone_of, frame_of, head_of, spec_of

FACES = (FaceBox((80.0, 60.0, 180.0, 160.0), 0.99), FaceBox((200.0, 100.0, 290.0, 190.0), 0.9))


def few_pixels(crops: np.ndarray) -> np.ndarray:
    """Features that any shift of a crop changes."""
    return crops[:, 1, [3, 10, 17, 28], [5, 20, 9, 30]]


def mean_logit(features: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (features.sum(-1) * mask).sum(-1) / mask.sum(-1)


def analyzer_of(
    scorer: ModelScorer, observer: ListObserver, faces: tuple[FaceBox, ...] = FACES, witness: Witness | None = None
) -> Analyzer:
    detector, facts, quality = FixedDetector(lambda _: faces), StreamFacts(), QualityLimits()
    return Analyzer(detector, scorer, observer, facts, detect_period_s=0.1, quality=quality, witness=witness)


def scorer_on(gpu: FakeGpu | None) -> ModelScorer:
    backbone = backbone_of(few_pixels)
    if gpu is None:
        return ModelScorer(backbone, head_of(mean_logit), spec_of())
    device = DeviceScripted(gpu, backbone.inputs, backbone.outputs, backbone.infer)
    scorer = ModelScorer(device, head_of(mean_logit), spec_of())
    scorer.prepare_on(GpuPreprocessor(gpu))
    return scorer


def pictures(streams: int) -> Iterator[tuple[float, list[Planes]]]:
    for step in range(20):
        kind = KINDS[step % len(KINDS)]
        yield step / 10, [noise_planes(320, 240, kind, seed=step + 100 * stream) for stream in range(streams)]


def lent(pts_s: float, planes: Planes, stream: str) -> Frame:
    """A frame whose pixels are overwritten as soon as it is given back."""

    def take_back() -> None:
        for plane in (planes.y, *planes.chroma):
            base = plane.base
            assert base is not None
            base.flags.writeable = True
            base[:] = 0

    return frame_of(pts_s, stream=stream, planes=planes, release=take_back)


def play(scorer: ModelScorer, names: tuple[str, ...] = ("one", "two")) -> list[Scene]:
    analyzer = analyzer_of(scorer, ListObserver())
    streams = [
        StreamAnalysis(StreamName(name), open_tracker(lost_after_s=1.0), TrackBook(scorer.spec)) for name in names
    ]
    scenes: list[Scene] = []
    for pts_s, planes in pictures(len(names)):
        frames = [lent(pts_s, one, name) for one, name in zip(planes, names, strict=True)]
        scenes += analyzer.step(list(zip(streams, frames, strict=True)))
        for frame in frames:
            frame.release()
    return scenes


def probabilities(scenes: list[Scene]) -> list[float | None]:
    return [face.fake_probability for scene in scenes for face in scene.faces]


@pytest.mark.parametrize("mapped", [False, True], ids=["copied", "mapped"])
def test_scores_are_the_processors(kernels: HostKernels, mapped: bool) -> None:
    gpu = FakeGpu(kernels, mapped=mapped)
    here, there = probabilities(play(scorer_on(None))), probabilities(play(scorer_on(gpu)))
    assert sum(value is not None for value in here) > 20
    assert [value is None for value in there] == [value is None for value in here]
    pairs = [(one, two) for one, two in zip(here, there, strict=True) if one is not None and two is not None]
    assert max(abs(one - two) for one, two in pairs) < 0.01
    assert np.std([one for one, _ in pairs]) > 0.04, "a score that never moves proves nothing"


class Shapes:
    """A witness that remembers what its crops are like."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, ...]] = set()

    def face_embedded(self, stream: StreamName, track_id: TrackId, pts_ns: int, crop: Bytes) -> None:  # noqa: ARG002
        self.seen.add(crop.shape)

    def frame_analysed(self, frame: Frame, scene: Scene) -> None: ...


def test_a_witness_is_shown_colours_though_the_gpu_cuts_what_the_model_sees(kernels: HostKernels) -> None:
    witness, scorer = Shapes(), scorer_on(FakeGpu(kernels))
    analyzer = analyzer_of(scorer, ListObserver(), witness=witness)
    stream = StreamAnalysis(StreamName("one"), open_tracker(lost_after_s=1.0), TrackBook(scorer.spec))
    for pts_s, planes in pictures(1):
        analyzer.step([(stream, lent(pts_s, planes[0], "one"))])
    assert witness.seen == {(SIZE, SIZE, 3)}


def test_all_due_faces_of_all_streams_are_one_launch_and_each_frame_goes_up_once(kernels: HostKernels) -> None:
    gpu = FakeGpu(kernels)
    scorer = scorer_on(gpu)
    frames = [frame_of(0.0, stream=name, planes=noise_planes(320, 240, seed=2)) for name in ("one", "two", "three")]
    streams = [StreamAnalysis(frame.stream, open_tracker(lost_after_s=1.0), TrackBook(scorer.spec)) for frame in frames]
    before = gpu.copied_in
    analyzer_of(scorer, ListObserver()).step(list(zip(streams, frames, strict=True)))
    assert gpu.launches == ["crop_faces"]
    size = 320 * 240 * 3 // 2
    assert 3 * size < gpu.copied_in - before < 3.1 * size


def test_a_failing_gpu_is_told_and_the_frames_are_let_go(kernels: HostKernels) -> None:
    gpu, observer = FakeGpu(kernels), ListObserver()
    scorer = scorer_on(gpu)
    analyzer = analyzer_of(scorer, observer)
    stream = StreamAnalysis(StreamName("one"), open_tracker(lost_after_s=1.0), TrackBook(scorer.spec))
    gpu.fails = True
    with pytest.raises(InferenceError):
        analyzer.step([(stream, frame_of(0.0, stream="one", planes=noise_planes(320, 240)))])
    assert observer.of("inference_failed") == [("scripted", "scripted-gpu")]
    gpu.fails = False
    assert analyzer.step([(stream, frame_of(0.5, stream="one", planes=noise_planes(320, 240)))])


def test_the_gpu_can_be_taken_up_and_left_between_steps(kernels: HostKernels) -> None:
    gpu = FakeGpu(kernels)
    scorer, views = scorer_on(None), [FaceView(noise_planes(320, 240), Square(120.0, 110.0, 90.0))]
    crops = [crop_planes(view.planes, view.square, SIZE) for view in views]
    here = scorer.embed_faces(views, crops)
    scorer.prepare_on(GpuPreprocessor(gpu))
    assert scorer.cuts_faces
    np.testing.assert_allclose(scorer.embed_faces(views, ()), here, atol=1 / 128)
    scorer.prepare_on(None)
    assert not scorer.cuts_faces
    assert np.array_equal(scorer.embed_faces(views, crops), here)
    assert gpu.launches == ["crop_faces"]


@pytest.mark.parametrize("blur_px", [0.0, 1.0, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("brightness", [4, 30, 120])
def test_the_gate_judges_a_grey_crop_as_a_coloured_one(blur_px: float, brightness: int) -> None:
    rng = np.random.default_rng(5)
    grain = cv2.resize(rng.normal(0, 60, (120, 120)).astype(np.float32), (640, 480), interpolation=cv2.INTER_CUBIC)
    y = np.clip(16 + brightness + grain * brightness / 120, 16, 235).astype(np.uint8)
    y = cv2.GaussianBlur(y, (0, 0), blur_px) if blur_px else y
    planes = Planes(y, (np.full((240, 320), 128, np.uint8),) * 2)
    square, face = Square(320.0, 240.0, 300.0), FaceBox((200.0, 100.0, 440.0, 380.0), 0.99)
    crops = [cut(planes, square, 224) for cut in (crop_planes, crop_grey)]
    reasons = [quality_reason(crop, square, face, (640, 480), QualityLimits()) for crop in crops]
    assert reasons[0] == reasons[1]
