"""One analysis step, in order: detect, track, crop, judge quality, embed, score, decide, publish.

The step is synchronous and knows no threads. It takes at most one frame of each stream, so that the due faces of all
streams share one backbone batch and all ready windows one head batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from engines.errors import InferenceError
from engines.preprocess import Bytes, FaceView, Square, crop_grey, crop_planes, square_from_box
from stream.faces.quality import QualityLimits, quality_reason
from stream.motion import Motion
from stream.observers import StreamFacts
from stream.ports import Clock, FaceDetector, FaceTracker, Observer, Witness
from stream.scheduling.detection import is_steady
from stream.scheduling.plan import StreamPlan
from stream.scheduling.sampling import SkipReason
from stream.scheduling.scheduler import Moment, OpenSlot, Scheduler, SchedulingPolicy
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import (
    FaceBox,
    FaceScore,
    Frame,
    QualityReason,
    Scene,
    StreamName,
    StreamState,
    TrackedFace,
    TrackId,
    Verdict,
)

Answer = TypeVar("Answer")
BRIDGED_NS = 800_000_000
"""Broken pictures for less than this leave slots empty, no more: as long as a verdict waits for better pictures."""


@dataclass
class StreamAnalysis:
    """What the analysis remembers of one stream between its frames."""

    name: StreamName
    tracker: FaceTracker
    book: TrackBook
    plan: StreamPlan = field(default_factory=StreamPlan)
    segment: int | None = None
    looked: Moment | None = None
    """The frame that was last searched for faces."""
    passed: Moment | None = None
    """The one since then that was due and left out; None: none was."""
    qualities: dict[TrackId, QualityReason | None] = field(default_factory=dict)
    verdicts: dict[TrackId, Verdict] = field(default_factory=dict)
    motion: Motion = field(default_factory=Motion)
    is_steady: bool = False
    """The last look showed what the one before did: see stream.scheduling.detection."""
    damaged_since_ns: int | None = None
    """Media time of the first look at broken pictures since the last whole one."""

    def begin(self, segment: int) -> None:
        """Forget everything that must not span a reconnect, a PTS jump or a resolution change."""
        self.segment = segment
        self.looked = self.passed = self.damaged_since_ns = None
        self.is_steady = False
        self.qualities.clear()
        self.verdicts.clear()
        self.motion = Motion()
        self.tracker.reset()
        self.book.begin_segment()


def _note_damage(stream: StreamAnalysis, frame: Frame) -> None:
    """After a longer stretch of broken pictures windows begin anew, as after a reconnect: who knows what was missed."""
    if frame.is_damaged:
        if stream.damaged_since_ns is None:
            stream.damaged_since_ns = frame.pts_ns
    elif stream.damaged_since_ns is not None:
        if frame.pts_ns - stream.damaged_since_ns >= BRIDGED_NS:
            stream.book.forget_samples()
        stream.damaged_since_ns = None


@dataclass(frozen=True)
class _DueFace:
    """A face whose slot is due and whose picture is good enough to be embedded."""

    stream: StreamAnalysis
    track_id: TrackId
    pts_ns: int
    view: FaceView
    crop: Bytes


@dataclass(frozen=True)
class _Looked:
    """A stream's frame after detection and tracking."""

    stream: StreamAnalysis
    frame: Frame
    tracks: tuple[TrackedFace, ...]
    found: int
    """Faces that the detector gave."""
    scored: set[TrackId] = field(default_factory=set)
    """Tracks whose window was scored in this step."""

    def track(self, track_id: TrackId) -> TrackedFace:
        return next(track for track in self.tracks if track.track_id == track_id)


class Analyzer:
    """Detector and model, shared by all streams of a process. Used by one thread."""

    def __init__(
        self,
        detector: FaceDetector,
        scorer: ModelScorer,
        observer: Observer,
        facts: StreamFacts,
        *,
        detect_period_s: float,
        quality: QualityLimits,
        scheduling: SchedulingPolicy | None = None,
        witness: Witness | None = None,
        clock: Clock = time.monotonic_ns,
        before_step: Callable[[], None] = lambda: None,
    ) -> None:
        """``witness``: sees frames and crops on the way. ``before_step``: whoever changes the detector or the scorer
        does so there.
        """
        self._detector = detector
        self._scorer = scorer
        self._observer = observer
        self._facts = facts
        self.scheduler = Scheduler(scorer.spec.window, round(detect_period_s * 1e9), scheduling)
        self._quality = quality
        self._witness = witness
        self._clock = clock
        self._before_step = before_step

    def is_due(self, stream: StreamAnalysis, frame: Frame) -> bool:
        """Whether this frame is one to look at; the others are shown, not analysed."""
        self.scheduler.join(stream.name, stream.plan)
        if stream.looked is None or stream.segment != frame.segment:
            return True
        now = Moment(frame.pts_ns, frame.arrived_ns)
        is_look_due = self.scheduler.is_look_due(stream.name, stream.passed or stream.looked, now)
        if is_look_due and self._may_rest(stream, now):
            stream.passed = now
            return False
        return is_look_due

    def is_expected(self, stream: StreamAnalysis, until_ns: int) -> bool:
        """Whether a live stream's next look falls due by ``until_ns`` of monotonic time, as far as its last tells."""
        last = stream.passed or stream.looked
        if last is None:
            return False
        then = Moment(last.pts_ns + until_ns - last.arrived_ns, until_ns)
        return self.scheduler.is_look_due(stream.name, last, then) and not self._may_rest(stream, then)

    def _may_rest(self, stream: StreamAnalysis, now: Moment) -> bool:
        if not stream.is_steady or stream.looked is None:
            return False
        slots = self._open_slots(stream, list(stream.verdicts), now.pts_ns)
        return self.scheduler.may_rest(stream.name, slots, stream.looked, now)

    def step(self, batch: Sequence[tuple[StreamAnalysis, Frame]]) -> tuple[Scene, ...]:
        """Analyse due frames, at most one per stream; one scene each. Raises InferenceError when the model fails."""
        self._before_step()
        try:
            looked = [self._look(stream, frame) for stream, frame in batch]
            self._embed(self._due_faces(looked))
        finally:
            self._scorer.forget_frames()
        self._score(looked)
        scenes = tuple(self._scene(view) for view in looked)
        if self._witness is not None:
            for view, scene in zip(looked, scenes, strict=True):
                self._witness.frame_analysed(view.frame, scene)
        return scenes

    def _look(self, stream: StreamAnalysis, frame: Frame) -> _Looked:
        self.scheduler.join(stream.name, stream.plan)
        if stream.segment != frame.segment:
            stream.begin(frame.segment)
            self.scheduler.begin_segment(stream.name)
        _note_damage(stream, frame)
        began = self._clock()
        faces = self._detect(frame)
        self._took([stream], "detect", 1, began)
        stream.looked, stream.passed = Moment(frame.pts_ns, frame.arrived_ns), None
        tracks = stream.tracker.update(faces, frame.pts_ns)
        self._observer.faces_tracked(stream.name, len(tracks))
        return _Looked(stream, frame, tracks, len(faces))

    def _detect(self, frame: Frame) -> tuple[FaceBox, ...]:
        detector = self._detector
        return self._infer((detector.name, detector.backend_name), lambda: detector.detect(frame))

    def _due_faces(self, looked: Sequence[_Looked]) -> list[_DueFace]:
        """Crops of the faces whose turn it is, of all streams, as many as one step takes."""
        wanted = {view.stream.name: self._wanted(view) for view in looked}
        taken = self.scheduler.in_turn(wanted, {view.stream.name: view.frame.pts_ns for view in looked})
        return [
            _DueFace(view.stream, track_id, view.frame.pts_ns, face, crop)
            for view in looked
            for track_id in taken[view.stream.name]
            for face, crop in self._good_faces(view, view.track(track_id))
        ]

    def _wanted(self, view: _Looked) -> tuple[TrackId, ...]:
        """Faces seen in this frame that want a sample, who goes first first. Those of a broken one take no turn."""
        seen = [track.track_id for track in view.tracks if track.detected]
        slots = self._open_slots(view.stream, seen, view.frame.pts_ns)
        if view.frame.is_damaged:
            for slot in slots:
                self._reject(view.stream, slot.track_id, QualityReason.DAMAGED)
            return ()
        return self.scheduler.wanted(view.stream.name, slots, view.frame.pts_ns, self._tell_skipped)

    def _open_slots(self, stream: StreamAnalysis, track_ids: Sequence[TrackId], pts_ns: int) -> list[OpenSlot]:
        book = stream.book
        return [OpenSlot(track_id, *book.slot_at(track_id, pts_ns)) for track_id in book.due(track_ids, pts_ns)]

    def _tell_skipped(self, stream: StreamName, reason: SkipReason) -> None:
        self._observer.sample_skipped(stream, reason.value)

    def _good_faces(self, view: _Looked, track: TrackedFace) -> list[tuple[FaceView, Bytes]]:
        """The face with its crop, or nothing when its quality forbids an answer."""
        planes, pixels = view.frame.planes, self._scorer.spec.pixels
        square = square_from_box(track.face.xyxy, self._detector.geometry, pixels.crop_margin)
        only_gate_looks = self._scorer.cuts_faces and self._witness is None  # the GPU cuts what the model sees
        cut = crop_grey if only_gate_looks else crop_planes
        crop = cut(planes, square, pixels.size)
        reason = self._judge(crop, square, track, (planes.width, planes.height))
        if reason is not None:
            self._reject(view.stream, track.track_id, reason)
            return []
        view.stream.qualities[track.track_id] = None
        return [(FaceView(planes, square), crop)]

    def _reject(self, stream: StreamAnalysis, track_id: TrackId, reason: QualityReason) -> None:
        stream.qualities[track_id] = reason
        self._observer.face_rejected(stream.name, reason.value)

    def _judge(
        self, crop: Bytes, square: Square, track: TrackedFace, frame_wh: tuple[int, int]
    ) -> QualityReason | None:
        return quality_reason(crop, square, track.face, frame_wh, self._quality)

    def _embed(self, due: Sequence[_DueFace]) -> None:
        if not due:
            return
        began = self._clock()
        views, crops = [face.view for face in due], [face.crop for face in due]
        features = self._infer(self._model, lambda: self._scorer.embed_faces(views, crops))
        self._took((face.stream for face in due), "embed", len(due), began)
        for face, feature in zip(due, features, strict=True):
            face.stream.book.remember(face.track_id, face.pts_ns, feature)
            if self._witness is not None:
                self._witness.face_embedded(face.stream.name, face.track_id, face.pts_ns, face.crop)

    def _score(self, looked: Sequence[_Looked]) -> None:
        """Every window that gained a sample, of all streams, as one head batch."""
        ready = [(view, *view.stream.book.windows_to_score()) for view in looked]
        ready = [entry for entry in ready if entry[1]]
        if not ready:
            return
        features = np.concatenate([entry[2] for entry in ready])
        masks = np.concatenate([entry[3] for entry in ready])
        began = self._clock()
        logits = self._infer(self._model, lambda: self._scorer.score(features, masks))
        self._took((view.stream for view, *_ in ready), "head", len(features), began)
        for view, track_ids, *_ in ready:
            view.stream.book.set_scores(track_ids, logits[: len(track_ids)], view.frame.pts_ns)
            logits = logits[len(track_ids) :]
            view.scored.update(track_ids)

    @property
    def _model(self) -> tuple[str, str]:
        """Name and backend of what scores faces."""
        return self._scorer.spec.name, self._scorer.backend_name

    def _infer(self, who: tuple[str, str], run: Callable[[], Answer]) -> Answer:
        """Run a network; a failure is told to the observer and goes on to the runner."""
        try:
            return run()
        except InferenceError:
            self._observer.inference_failed(*who)
            raise

    def _took(self, views: Iterable[StreamAnalysis], stage: str, batch: int, began_ns: int) -> None:
        seconds = self._since(began_ns)
        who = (self._detector.name, self._detector.backend_name) if stage == "detect" else self._model
        self._observer.inference(*who, batch, seconds)
        for name in {stream.name for stream in views}:
            self._observer.stage_took(name, stage, seconds)

    def _scene(self, view: _Looked) -> Scene:
        stream, frame = view.stream, view.frame
        scores = stream.book.face_scores(view.tracks, stream.qualities, frame.pts_ns)
        speeds = stream.motion.update(view.tracks, frame.pts_ns)
        stream.qualities = {score.track_id: stream.qualities.get(score.track_id) for score in scores}
        faces = tuple(replace(score, velocity=speeds[score.track_id]) for score in scores)
        stream.is_steady = is_steady(view.tracks, view.found, stream.verdicts, speeds)
        self._tell_scores(view, faces)
        self.scheduler.learn(stream.name, scores, frame.pts_ns)
        now = self._clock()
        latency_s = (now - frame.arrived_ns) / 1e9
        self._observer.stage_took(stream.name, "e2e", latency_s)
        return Scene(
            stream=stream.name,
            faces=faces,
            pts_ns=frame.pts_ns,
            published_ns=now,
            captured_ns=frame.arrived_ns,
            fps=self._facts.fps.get(stream.name, 0.0),
            latency_ms=latency_s * 1e3,
            model=self._scorer.spec.name,
            backend=self._scorer.backend_name,
            has_fallen_back=self._scorer.spec.name in self._facts.fallen_back,
            detector_has_fallen_back=self._detector.name in self._facts.fallen_back,
            state=StreamState.PLAYING,
            frame_wh=(frame.planes.width, frame.planes.height),
            thinned_to=self.scheduler.thinned_to(stream.name),
        )

    def _tell_scores(self, view: _Looked, faces: Sequence[FaceScore]) -> None:
        verdicts = view.stream.verdicts
        for face in faces:
            if face.track_id in view.scored and face.fake_probability is not None:
                self._observer.window_scored(view.stream.name, face.verdict, face.fake_probability)
            if verdicts.get(face.track_id, Verdict.WARMING_UP) is not face.verdict:
                self._observer.verdict_changed(view.stream.name, face)
        view.stream.verdicts = {face.track_id: face.verdict for face in faces}

    def _since(self, began_ns: int) -> float:
        return (self._clock() - began_ns) / 1e9
