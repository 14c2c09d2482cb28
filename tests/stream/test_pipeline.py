"""The analysis step: what is looked at, when faces are sampled, and how streams share batches."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from engines.errors import InferenceError
from engines.preprocess import Bytes
from stream.faces.quality import QualityLimits
from stream.faces.tracker import open_tracker
from stream.observers import StreamFacts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.ports import Witness
from stream.scheduling.overload import OverloadPolicy
from stream.scheduling.plan import CalmPolicy, Limits, StreamPlan
from stream.scheduling.scheduler import SchedulingPolicy
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import FaceBox, Frame, QualityReason, Scene, StreamName, TrackId, Verdict
from tests.fakes import FixedDetector, ListObserver, backbone_of, frame_of, head_of, planes_of, spec_of

FACE = FaceBox((80.0, 60.0, 180.0, 160.0), 0.99)


class House:
    """An analyzer on scripted parts, and the streams it serves."""

    def __init__(
        self,
        logit: object = 3.0,
        faces: object = (FACE,),
        detect_hz: float = 10.0,
        scheduling: SchedulingPolicy | None = None,
        witness: Witness | None = None,
    ) -> None:
        self.observer = ListObserver()
        self.facts = StreamFacts()
        self.spec = spec_of()
        self.backbone, self.head = backbone_of(), head_of(logit)  # type: ignore[arg-type]
        self.detector = FixedDetector(faces if callable(faces) else lambda _: faces)  # type: ignore[arg-type,return-value]
        self.analyzer = Analyzer(
            self.detector,
            ModelScorer(self.backbone, self.head, self.spec),
            self.observer,
            self.facts,
            detect_period_s=1 / detect_hz,
            quality=QualityLimits(),
            scheduling=scheduling,
            witness=witness,
        )

    def stream(self, name: str = "cam", plan: StreamPlan | None = None) -> StreamAnalysis:
        """A file's, unless ``plan`` says otherwise."""
        tracker, book = open_tracker(lost_after_s=1.0), TrackBook(self.spec)
        return StreamAnalysis(StreamName(name), tracker, book, plan or StreamPlan())

    def play(self, stream: StreamAnalysis, seconds: float, fps: float = 30.0, start_s: float = 0.0) -> list[Scene]:
        scenes: list[Scene] = []
        for index in range(round(seconds * fps)):
            frame = frame_of(start_s + index / fps, stream=stream.name)
            if self.analyzer.is_due(stream, frame):
                scenes += self.analyzer.step([(stream, frame)])
        return scenes


def test_a_new_face_warms_up_and_then_gets_the_models_verdict() -> None:
    house = House(logit=4.0)
    scenes = house.play(house.stream(), 4.0)
    shown = [scene.faces[0].verdict for scene in scenes if scene.faces]
    assert shown[0] is Verdict.WARMING_UP
    assert shown[-1] is Verdict.FAKE
    assert scenes[-1].faces[0].fake_probability == pytest.approx(0.982, abs=0.01)


class Onlooker:
    """A witness that writes everything down."""

    def __init__(self) -> None:
        self.crops: list[tuple[int, tuple[int, ...]]] = []
        self.frames: list[tuple[int, Scene]] = []

    def face_embedded(self, stream: StreamName, track_id: TrackId, pts_ns: int, crop: Bytes) -> None:  # noqa: ARG002
        self.crops.append((pts_ns, crop.shape))

    def frame_analysed(self, frame: Frame, scene: Scene) -> None:
        self.frames.append((frame.pts_ns, scene))


def test_a_witness_sees_each_crop_that_is_embedded_and_each_frame_with_its_scene() -> None:
    onlooker = Onlooker()
    house = House(witness=onlooker)
    scenes = house.play(house.stream(), 2.0)
    assert onlooker.frames == [(scene.pts_ns, scene) for scene in scenes]
    assert len(onlooker.crops) == house.backbone.calls > 5
    assert {shape for _, shape in onlooker.crops} == {(house.spec.pixels.size, house.spec.pixels.size, 3)}
    assert {pts_ns for pts_ns, _ in onlooker.crops} <= {scene.pts_ns for scene in scenes}


def test_without_enough_samples_there_is_no_number() -> None:
    house = House()
    scenes = house.play(house.stream(), 0.7)
    assert all(face.fake_probability is None for scene in scenes for face in scene.faces)
    assert house.head.calls == 0


@pytest.mark.parametrize("fps", [10.0, 24.0, 30.0, 60.0])
def test_the_backbone_runs_once_per_slot_at_any_frame_rate(fps: float) -> None:
    house = House()
    house.play(house.stream(), 4.0, fps=fps)
    assert house.backbone.calls == pytest.approx(4.0 / house.spec.window.period_s, abs=2)


def test_detection_keeps_its_own_rate() -> None:
    house = House(detect_hz=5.0)
    house.play(house.stream(), 4.0, fps=30.0)
    assert house.detector.calls == pytest.approx(20, abs=1)


def test_due_faces_of_all_streams_share_one_backbone_run() -> None:
    house = House()
    streams = [house.stream(name) for name in ("a", "b", "c")]
    for index in range(12):
        house.analyzer.step([(stream, frame_of(index / 10, stream=stream.name)) for stream in streams])
    assert {batch for model, _, batch, _ in house.observer.of("inference") if model == "scripted"} == {3}


def test_a_new_segment_starts_windows_and_verdicts_afresh() -> None:
    house = House()
    stream = house.stream()
    before = house.play(stream, 3.0)[-1].faces[0]
    after = house.analyzer.step([(stream, frame_of(3.1, segment=1))])
    assert before.verdict is Verdict.FAKE
    assert all(face.verdict is Verdict.WARMING_UP and face.track_id != before.track_id for face in after[0].faces)


def test_a_face_too_small_is_unsure_with_its_reason_and_never_embedded() -> None:
    tiny = FaceBox((10.0, 10.0, 26.0, 26.0), 0.99)
    house = House(faces=(tiny,))
    scenes = house.play(house.stream(), 3.0)
    last = scenes[-1].faces[0]
    assert (last.verdict, last.reason, last.fake_probability) == (Verdict.UNSURE, QualityReason.TOO_SMALL, None)
    assert house.backbone.calls == 0
    assert ("cam", "too_small") in house.observer.of("face_rejected")


def test_a_broken_picture_is_never_sampled_and_its_slot_waits_for_a_whole_one() -> None:
    house = House(logit=4.0)
    stream = house.stream()
    house.play(stream, 3.0)
    samples = house.backbone.calls
    broken = [replace(frame_of(3.0 + step / 30, stream=stream.name), is_damaged=True) for step in range(30)]
    shown = [house.analyzer.step([(stream, frame)])[0].faces[0] for frame in broken]
    assert house.backbone.calls == samples
    assert (shown[0].verdict, shown[0].reason) == (Verdict.FAKE, None), "a short loss leaves the verdict standing"
    assert (shown[-1].verdict, shown[-1].reason) == (Verdict.UNSURE, QualityReason.DAMAGED)
    assert ("cam", "damaged") in house.observer.of("face_rejected")
    after = house.play(stream, 0.1, start_s=4.0)
    assert house.backbone.calls == samples + 1
    assert after[-1].faces[0].reason is None


@pytest.mark.parametrize(("broken_s", "filled"), [(0.6, 16), (1.0, 1)])
def test_a_window_bridges_a_moment_of_broken_pictures_and_begins_anew_after_more(broken_s: float, filled: int) -> None:
    house = House()
    stream = house.stream()
    house.play(stream, 3.0)
    for step in range(round(broken_s * 10)):
        house.analyzer.step([(stream, replace(frame_of(3.0 + step / 10, stream=stream.name), is_damaged=True))])
    scene = house.analyzer.step([(stream, frame_of(3.0 + broken_s, stream=stream.name))])[0]
    assert sum(scene.faces[0].slots) == filled


def test_faces_of_a_broken_picture_take_nobodys_turn() -> None:
    house = House(scheduling=SchedulingPolicy(Limits(max_batch=1)))
    broken, whole = (house.stream(name, StreamPlan(is_live=True)) for name in ("broken", "whole"))
    for step in range(8):
        frames = [frame_of(step / 4, stream=name) for name in ("broken", "whole")]
        house.analyzer.step([(broken, replace(frames[0], is_damaged=True)), (whole, frames[1])])
    assert house.backbone.calls == 8
    assert ("broken", "damaged") in house.observer.of("face_rejected")


def test_a_model_that_gives_no_number_is_an_error_and_never_a_score() -> None:
    house = House(logit=lambda features, _: np.full(len(features), np.nan))
    stream = house.stream()
    with pytest.raises(InferenceError):
        house.play(stream, 3.0)
    assert house.observer.of("inference_failed") == [("scripted", "scripted")]
    assert house.observer.of("window_scored") == []


def test_each_scored_window_is_told_once_with_its_verdict() -> None:
    house = House(logit=4.0)
    house.play(house.stream(), 4.0)
    told = house.observer.of("window_scored")
    assert len(told) == house.head.calls
    assert all(stream == "cam" and 0.9 < probability <= 1 for stream, _, probability in told)


def test_a_verdict_change_is_told_once() -> None:
    house = House(logit=4.0)
    house.play(house.stream(), 4.0)
    assert [face.verdict for _, face in house.observer.of("verdict_changed")] == [Verdict.FAKE]


def test_twenty_faces_are_all_scored() -> None:
    faces = tuple(FaceBox((x * 60.0, y * 60.0, x * 60.0 + 55, y * 60.0 + 55), 0.9) for x in range(5) for y in range(4))
    house = House(faces=faces)
    stream, picture = house.stream(), planes_of(400, 300)
    for index in range(30):
        frame = frame_of(index / 10, planes=picture)
        if house.analyzer.is_due(stream, frame):
            (scene,) = house.analyzer.step([(stream, frame)])
    assert len(scene.faces) == 20
    assert {face.verdict for face in scene.faces} == {Verdict.FAKE}


LIVE = StreamPlan(is_live=True)
CROWD = tuple(FaceBox((x * 60.0, y * 60.0, x * 60.0 + 55, y * 60.0 + 55), 0.9) for x in range(6) for y in range(5))


@pytest.mark.parametrize(("every", "samples"), [(1, 20), (2, 10), (3, 7)])
def test_a_sparse_stream_masks_the_slots_between_its_samples(every: int, samples: int) -> None:
    house = House()
    scenes = house.play(house.stream(plan=StreamPlan(is_live=True, sample_every=every)), 6.0, fps=30.0)
    slots = scenes[-1].faces[0].slots
    taken = [index for index, filled in enumerate(slots) if filled]
    assert len(taken) == pytest.approx(samples, abs=1)
    assert {after - before for before, after in pairwise(taken)} == {every}
    assert {scene.faces[0].verdict for scene in scenes[-9:]} == {Verdict.FAKE}
    assert {reason for _, reason in house.observer.of("sample_skipped")} == ({"configured"} if every > 1 else set())


def test_thirty_faces_in_one_camera_leave_the_other_camera_every_sample() -> None:
    house = House(
        faces=lambda frame: CROWD if frame.stream == "crowd" else (FACE,),  # type: ignore[attr-defined]
        scheduling=SchedulingPolicy(Limits(max_batch=8)),
    )
    crowd, door, picture = house.stream("crowd", LIVE), house.stream("door", LIVE), planes_of(400, 320)
    for index in range(60):
        frames = [frame_of(index / 10, stream=stream.name, planes=picture) for stream in (crowd, door)]
        scenes = house.analyzer.step(list(zip((crowd, door), frames, strict=True)))
    assert all(scenes[1].faces[0].slots)
    assert {face.verdict for face in scenes[0].faces} == {Verdict.FAKE}
    assert {sum(face.slots) for face in scenes[0].faces} <= {9, 10, 11}
    assert max(batch for model, _, batch, _ in house.observer.of("inference") if model == "scripted") <= 31  # windows
    assert set(house.observer.of("sample_skipped")) == {("crowd", "batch")}


def test_a_calm_face_is_sampled_slowly_until_its_score_rises() -> None:
    """The head sees a rise in the first sample after it: the window is full again within its own length."""
    calm = SchedulingPolicy(calm=CalmPolicy(every=3, after_s=2.0))
    logit = [-4.0]
    house = House(logit=lambda features, _: np.full(len(features), logit[0]), scheduling=calm)
    stream = house.stream(plan=LIVE)
    slow = house.play(stream, 12.0)[-1].faces[0]
    logit[0] = 0.0
    fast = house.play(stream, 5.0, start_s=12.0)[-1].faces[0]
    assert (sum(slow.slots), slow.verdict) in {(6, Verdict.REAL), (7, Verdict.REAL)}
    assert (sum(fast.slots), fast.verdict) == (20, Verdict.UNSURE)
    assert set(house.observer.of("sample_skipped")) == {("cam", "calm")}


def test_overload_thins_the_samples_and_says_so_in_the_scene() -> None:
    house, seconds = House(scheduling=SchedulingPolicy(overload=OverloadPolicy(settle_s=0.0))), 1_000_000_000
    stream = house.stream(plan=LIVE)
    house.play(stream, 1.0)
    for second in range(4):
        house.analyzer.scheduler.worked([stream.name], second * seconds, (second + 1) * seconds)
        house.analyzer.scheduler.update_load((second + 1) * seconds)
    scene = house.play(stream, 6.0, start_s=1.0)[-1]
    assert (scene.thinned_to, sum(scene.faces[0].slots)) == (2, 10)
    assert scene.faces[0].verdict is Verdict.FAKE
    assert set(house.observer.of("sample_skipped")) == {("cam", "overload")}


def test_velocity_follows_a_moving_face() -> None:
    def moving(frame: object) -> tuple[FaceBox, ...]:
        left = 20 + 40 * frame.pts_ns / 1e9  # type: ignore[attr-defined]
        return (FaceBox((left, 60.0, left + 100, 160.0), 0.99),)

    house = House(faces=moving)
    scene = house.play(house.stream(), 2.0)[-1]
    assert scene.faces[0].velocity == (pytest.approx(40, abs=15), pytest.approx(0, abs=10))


@pytest.mark.parametrize("fps", [10.0, 15.0, 24.0, 25.0, 30.0, 60.0])
def test_a_steady_face_is_looked_at_only_for_its_samples_and_gets_all_of_them(fps: float) -> None:
    house = House()
    scenes = house.play(house.stream(plan=LIVE), 6.0, fps=fps)
    assert house.detector.calls == pytest.approx(6 * 5, abs=3)
    assert house.backbone.calls == pytest.approx(6 * 5, abs=2)
    assert all(scenes[-1].faces[0].slots)


def test_an_empty_picture_is_looked_at_once_a_slot() -> None:
    house = House(faces=())
    house.play(house.stream(plan=LIVE), 6.0)
    assert house.detector.calls == pytest.approx(6 * 5, abs=2)


def test_a_fast_face_is_looked_at_at_the_full_rate() -> None:
    def fast(frame: Frame) -> tuple[FaceBox, ...]:
        left = 20 + 100 * frame.pts_ns / 1e9
        return (FaceBox((left, 60.0, left + 100, 160.0), 0.99),)

    house = House(faces=fast)
    house.play(house.stream(plan=LIVE), 2.0)
    assert house.detector.calls == pytest.approx(20, abs=1)


def test_a_steady_face_that_was_not_good_enough_is_looked_at_again_soon() -> None:
    house = House(faces=(FaceBox((10.0, 10.0, 26.0, 26.0), 0.99),))
    house.play(house.stream(plan=LIVE), 3.0)
    assert house.detector.calls == pytest.approx(30, abs=1)


def test_a_face_that_comes_into_a_steady_picture_is_seen_within_a_slot() -> None:
    other = FaceBox((200.0, 60.0, 300.0, 160.0), 0.99)
    house = House(faces=lambda frame: (FACE,) if frame.pts_ns < 3.02e9 else (FACE, other))
    scenes = house.play(house.stream(plan=LIVE), 4.0)
    first = next(scene.pts_ns for scene in scenes if len(scene.faces) == 2)
    assert first <= 3.26e9


def test_a_file_is_looked_at_at_the_full_rate_so_that_its_scores_stay() -> None:
    house = House()
    house.play(house.stream(), 3.0)
    assert house.detector.calls == pytest.approx(30, abs=1)
