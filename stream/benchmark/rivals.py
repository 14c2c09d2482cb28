"""What people would otherwise run, and ours, each over the same clip with the same detector and weights.

Every way goes through the same seconds of video. A *slot score* is one score of one face for one slot of the model's
window: what a viewer is shown anew. A way that computes more than one score per slot has them counted apart.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import Any, Protocol

import cv2
import numpy as np

from engines.preprocess import Bytes, Floats, Planes, crop_planes, crop_rgb, square_from_box
from stream.config import AppConfig
from stream.errors import SourceError
from stream.faces.network import NetworkDetector, face_boxes
from stream.observers import SilentObserver, StreamFacts
from stream.overlay import Overlay
from stream.parts import Parts, build_analysis, build_analyzer
from stream.scheduling.plan import StreamPlan
from stream.score import open_file
from stream.scoring.scorer import ModelScorer
from stream.sources.frames import frames_of
from stream.types import FaceBox, Scene, StreamName, Verdict

READ_AHEAD = 64
GREEN = (0, 255, 0)


class Embedder(Protocol):
    """Crops to features and windows to logits, as ModelScorer does."""

    def embed(self, crops: Sequence[Bytes]) -> Floats: ...

    def score(self, features: Floats, mask: Floats) -> Floats: ...


@dataclass(frozen=True)
class WayRun:
    """One way over the clip once."""

    way: str
    video_s: float
    wall_s: float
    cpu_s: float
    """Of the whole process: decoders' and runtimes' threads too."""
    slot_scores: int
    all_scores: int


@dataclass(frozen=True)
class Pace:
    """How a clip's frames become slots."""

    every: int
    """Frames from one slot to the next."""
    slots: int
    first: int = 0
    """The first slot whose score counts: the model's own, which waits for ``min_samples``. What leads there takes time
    all the same."""

    def is_slot(self, index: int) -> bool:
        return index % self.every == 0

    def counts(self, index: int) -> bool:
        """Whether a score of this frame is one to count."""
        return index >= self.first * self.every


def pace_of(parts: Parts, fps: float) -> Pace:
    window = parts.model.spec.window
    return Pace(max(1, round(window.period_s * fps)), window.slots, window.min_samples - 1)


def timed(way: str, run: Callable[[], tuple[int, int]], video_s: float) -> WayRun:
    """``run`` returns slot scores and all scores."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    slot_scores, all_scores = run()
    return WayRun(
        way, video_s, time.perf_counter() - began_s, time.process_time() - began_cpu_s, slot_scores, all_scores
    )


class Counted(SilentObserver):
    """How many windows were scored."""

    def __init__(self) -> None:
        self.windows = 0

    def window_scored(self, stream: StreamName, verdict: Verdict, fake_probability: float) -> None:  # noqa: ARG002
        self.windows += 1


def run_ours(clip: Path, parts: Parts, config: AppConfig) -> tuple[int, int]:
    """The program's own way through a camera's video, as fast as it goes: every frame drawn on, YUV from decoder to
    picture. Every slot is sampled, as of a suspicious face; the camera's clock is the clip's."""
    every = config.model_copy(update={"analysis": config.analysis.model_copy(update={"calm_every": 1})})
    counted, facts, name = Counted(), StreamFacts(), StreamName("clip")
    analyzer = build_analyzer(every, parts, counted, facts)
    analysis = build_analysis(every, parts, name, plan=StreamPlan(is_live=True))
    overlay, scene = Overlay(), Scene(name)
    source = open_file(name, clip, facts)
    try:
        for frame in frames_of(source):
            with frame:
                shown = replace(frame, arrived_ns=frame.pts_ns)
                if analyzer.is_due(analysis, shown):
                    (scene,) = analyzer.step([(analysis, shown)])
                overlay.draw(_copied(frame.planes), scene, scene.captured_ns)
    finally:
        source.close()
    return counted.windows, counted.windows


def _copied(planes: Planes) -> Planes:
    chroma = tuple(plane.copy() for plane in planes.chroma)
    return Planes(planes.y.copy(), chroma, planes.matrix, planes.full_range)


def run_per_frame(frames: Iterator[Bytes], detector: NetworkDetector, parts: Parts, pace: Pace) -> tuple[int, int]:
    """(b) The straightforward loop: all networks on every frame, a window of kept features, drawing on BGR."""
    kept: deque[Floats] = deque(maxlen=pace.every * (pace.slots - 1) + 1)
    slot_scores = all_scores = 0
    for index, bgr in enumerate(frames):
        face = first_face(detector, bgr)
        if face is None:
            continue
        kept.append(parts.scorer.embed([crop_of(bgr, face, detector, parts)])[0])
        window = list(kept)[:: -pace.every][: pace.slots][::-1]
        logit = window_logit(parts.scorer, window, pace.slots)
        all_scores += pace.counts(index)
        slot_scores += pace.counts(index) and pace.is_slot(index)
        draw_bgr(bgr, face, logit)
    return slot_scores, all_scores


def run_recomputed(
    frames: Iterator[Bytes],
    detector: NetworkDetector,
    parts: Parts,
    pace: Pace,
    networks: Embedder,
    filled: Sequence[Bytes] = (),
) -> tuple[int, int]:
    """(a) The predecessors' way: for each score all of the window's crops go through the backbone again.

    ``filled``: crops that the window holds at first, so that the first score costs as much as any.
    """
    crops: deque[Bytes] = deque(filled, maxlen=pace.slots)
    scores = 0
    for index, bgr in enumerate(frames):
        face = first_face(detector, bgr) if pace.is_slot(index) else None
        if face is None:
            continue
        crops.append(crop_of(bgr, face, detector, parts))
        window_logit(networks, list(networks.embed(list(crops))), pace.slots)
        scores += pace.counts(index)
    return scores, scores


def first_face(detector: NetworkDetector, bgr: Bytes) -> FaceBox | None:
    """The most confident face, found in the same reduced picture as ours but made from BGR."""
    size_wh = (bgr.shape[1], bgr.shape[0])
    fit = detector.fit(size_wh)
    small = cv2.cvtColor(cv2.resize(bgr, fit.inner_wh, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    below, right = fit.canvas_wh[1] - fit.inner_wh[1], fit.canvas_wh[0] - fit.inner_wh[0]
    found = detector.find(np.asarray(cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8))
    faces = face_boxes(found.scaled(size_wh[0] / fit.inner_wh[0], size_wh[1] / fit.inner_wh[1]))
    return faces[0] if faces else None


def crop_of(bgr: Bytes, face: FaceBox, detector: NetworkDetector, parts: Parts) -> Bytes:
    """(S, S, 3) RGB."""
    pixels = parts.model.spec.pixels
    square = square_from_box(face.xyxy, detector.geometry, pixels.crop_margin)
    return np.ascontiguousarray(crop_rgb(bgr, square, pixels.size)[..., ::-1])


def window_logit(networks: Embedder, features: Sequence[Floats], slots: int) -> float:
    """Of the newest ``slots`` features, oldest first; a window that is not full is masked at its beginning."""
    window = np.zeros((1, slots, len(features[0])), np.float32)
    mask = np.zeros((1, slots), np.float32)
    window[0, slots - len(features) :] = features
    mask[0, slots - len(features) :] = 1.0
    return float(networks.score(window, mask)[0])


def draw_bgr(bgr: Bytes, face: FaceBox, logit: float) -> None:
    left, top, right, bottom = (round(value) for value in face.xyxy)
    cv2.rectangle(bgr, (left, top), (right, bottom), GREEN, 2)
    cv2.putText(bgr, f"{logit:+.2f}", (left, top - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.8, GREEN, 2)


def opencv_frames(clip: Path) -> Iterator[Bytes]:
    """(H, W, 3) BGR. Raises SourceError when OpenCV cannot read the clip."""
    capture = cv2.VideoCapture(str(clip))
    try:
        if not capture.isOpened():
            raise SourceError(f"OpenCV cannot read {clip}: give another clip")
        while True:
            is_read, bgr = capture.read()
            if not is_read:
                return
            yield np.asarray(bgr, np.uint8)
    finally:
        capture.release()


def clip_seconds(clip: Path) -> float:
    """By its count of frames and their rate."""
    capture = cv2.VideoCapture(str(clip))
    count, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return float(count / fps) if fps else 0.0


def threaded_frames(clip: Path) -> Iterator[Bytes]:
    """(c) A reader on a thread of its own with a short queue before it; nothing is dropped.

    Raises what its reader raises, after the frames that were read before.
    """
    waiting: Queue[Bytes | Exception | None] = Queue(READ_AHEAD)

    def read() -> None:
        try:
            for bgr in opencv_frames(clip):
                waiting.put(bgr)
        except Exception as error:  # top of the thread: raised again by who reads the queue
            waiting.put(error)
        else:
            waiting.put(None)

    threading.Thread(target=read, name="opencv-reader", daemon=True).start()
    while (entry := waiting.get()) is not None:
        if isinstance(entry, Exception):
            raise entry
        yield entry


def torch_networks(parts: Parts, folder: Path) -> Embedder:
    """The same weights in PyTorch. Raises ModuleNotFoundError without the training extra."""
    found: Embedder = import_module("stream.benchmark.torch_way").TorchNetworks(parts.model.spec, folder)
    return found


@dataclass(frozen=True)
class Sameness:
    """Logits of one full window of the same frames, by each way."""

    ours: float
    per_frame: float
    ours_on_their_crops: float
    recomputed: float | None
    """None without PyTorch."""
    crop_difference: float
    """Mean absolute difference of the crops' pixels, I420 against BGR, of 255."""

    @property
    def torch_difference(self) -> float | None:
        return None if self.recomputed is None else abs(self.recomputed - self.per_frame)


def same_window(
    clip: Path, detector: NetworkDetector, parts: Parts, theirs_parts: Parts, pace: Pace, networks: Embedder | None
) -> Sameness:
    """Score the first full window by each way. Raises SourceError when the clip has no face for so long."""
    theirs = _first_crops(_bgr_crops(clip, detector, parts, pace), pace.slots)
    mine = _first_crops(_plane_crops(clip, detector, parts, pace), pace.slots)
    shared = sorted(set(theirs) & set(mine))
    if len(shared) < pace.slots:
        raise SourceError(f"{clip} has no face in {pace.slots} slots: give a clip with one all along")
    their_crops, my_crops = [theirs[index] for index in shared], [mine[index] for index in shared]
    difference = np.mean([np.abs(a.astype(int) - b) for a, b in zip(their_crops, my_crops, strict=True)])
    return Sameness(
        _logit(parts.scorer, my_crops, pace),
        _logit(theirs_parts.scorer, their_crops, pace, one_by_one=True),
        _logit(parts.scorer, their_crops, pace),
        None if networks is None else _logit(networks, their_crops, pace),
        float(difference),
    )


def _logit(networks: Embedder | ModelScorer, crops: Sequence[Bytes], pace: Pace, *, one_by_one: bool = False) -> float:
    features = [networks.embed([crop])[0] for crop in crops] if one_by_one else list(networks.embed(crops))
    return window_logit(networks, features, pace.slots)


def _first_crops(crops: Iterator[tuple[int, Bytes]], count: int) -> dict[int, Bytes]:
    found: dict[int, Bytes] = {}
    for index, crop in crops:
        found[index] = crop
        if len(found) == count:
            break
    return found


def first_crops(clip: Path, detector: NetworkDetector, parts: Parts, pace: Pace) -> list[Bytes]:
    """Of the first full window, oldest first."""
    return list(_first_crops(_bgr_crops(clip, detector, parts, pace), pace.slots).values())


def _bgr_crops(clip: Path, detector: NetworkDetector, parts: Parts, pace: Pace) -> Iterator[tuple[int, Bytes]]:
    for index, bgr in enumerate(opencv_frames(clip)):
        face = first_face(detector, bgr) if pace.is_slot(index) else None
        if face is not None:
            yield index, crop_of(bgr, face, detector, parts)


def _plane_crops(clip: Path, detector: NetworkDetector, parts: Parts, pace: Pace) -> Iterator[tuple[int, Bytes]]:
    pixels = parts.model.spec.pixels
    source: Any = open_file(StreamName("clip"), clip, StreamFacts())
    try:
        for index, frame in enumerate(frames_of(source)):
            with frame:
                faces = detector.detect(frame) if pace.is_slot(index) else ()
                if faces:
                    square = square_from_box(faces[0].xyxy, detector.geometry, pixels.crop_margin)
                    yield index, crop_planes(frame.planes, square, pixels.size)
    finally:
        source.close()
