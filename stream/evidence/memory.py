"""What is remembered of each stream for the case that an alert asks: bounded, and forgotten when nobody does.

Written on the analysis thread, read by whoever takes evidence: a lock is held for moments.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from engines.preprocess import Bytes, Planes
from stream.evidence.heatmap import TimedCrop
from stream.types import FaceScore, Frame, QualityReason, Scene, StreamName, StreamState, TrackId, Verdict, Xyxy

FORGET_CROPS_S = 10.0
"""A face that gave no crop for this long is forgotten."""
CROP_BYTES = 64 * 2**20
"""Of all crops of all streams: 21 faces with 20 crops of 224 px; of more faces fewer crops each."""
LONGEST_ROWS = 4000
"""Moments of one stream that are remembered at most: two minutes at 30 Hz."""


@dataclass(frozen=True)
class FaceMoment:
    """One face at one moment."""

    track_id: TrackId
    xyxy: Xyxy
    verdict: Verdict
    fake_probability: float | None
    reason: QualityReason | None
    slots: tuple[bool, ...]
    """Which slots of its window were filled, oldest first."""


@dataclass(frozen=True)
class Moment:
    """A stream at one moment."""

    at: float
    """Wall time, seconds since the epoch."""
    pts_ns: int
    state: StreamState
    faces: tuple[FaceMoment, ...]


@dataclass(frozen=True)
class Picture:
    """A copied frame with the scene that was found on it."""

    planes: Planes
    """Its own memory, writable."""
    scene: Scene


@dataclass
class _Stream:
    """Of one stream."""

    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=LONGEST_ROWS))
    crops: dict[TrackId, deque[TimedCrop]] = field(default_factory=dict)
    again: Callable[[], Frame] | None = None
    scene: Scene | None = None


class Memory:
    """Moments, crops and the newest frame of every stream. A Witness."""

    def __init__(self, *, slots: int, keep_s: float, crop_bytes: int = CROP_BYTES) -> None:
        """``slots``: crops of a face that are kept at most; ``keep_s``: how far back moments reach."""
        self._slots, self._keep_s, self._crop_bytes = slots, keep_s, crop_bytes
        self._lock = threading.Lock()
        self._streams: dict[StreamName, _Stream] = {}
        self._held = 0

    @property
    def held_bytes(self) -> int:
        """Of crops."""
        return self._held

    def face_embedded(self, stream: StreamName, track_id: TrackId, pts_ns: int, crop: Bytes) -> None:
        with self._lock:
            crops = self._of(stream).crops
            self._let_go(crops, pts_ns)
            kept = crops.setdefault(track_id, deque())
            kept.append(TimedCrop(pts_ns, crop))
            self._held += crop.nbytes
            if len(kept) > self._slots:
                self._held -= kept.popleft().crop.nbytes
            while self._held > self._crop_bytes:
                self._drop_oldest()

    def frame_analysed(self, frame: Frame, scene: Scene) -> None:
        with self._lock:
            known = self._of(scene.stream)
            known.again, known.scene = frame.again, scene

    def remember(self, scene: Scene, at: float) -> None:
        """A scene as it is published; ``at``: wall time."""
        moment = Moment(at, scene.pts_ns, scene.state, tuple(map(_face_moment, scene.faces)))
        with self._lock:
            moments = self._of(scene.stream).moments
            moments.append(moment)
            while moments[0].at < at - self._keep_s:
                moments.popleft()

    def moments(self, stream: StreamName, since: float, until: float) -> tuple[Moment, ...]:
        """Between two wall times, oldest first."""
        with self._lock:
            known = self._streams.get(stream)
            return () if known is None else tuple(one for one in known.moments if since <= one.at <= until)

    def crops(self, stream: StreamName, track_id: TrackId) -> tuple[TimedCrop, ...]:
        """The newest of one face, oldest first."""
        with self._lock:
            known = self._streams.get(stream)
            return () if known is None else tuple(known.crops.get(track_id, ()))

    def picture(self, stream: StreamName) -> Picture | None:
        """A copy of the newest analysed frame; None before the first. Raises SourceError when it cannot be read."""
        with self._lock:
            known = self._streams.get(stream)
            again, scene = (None, None) if known is None else (known.again, known.scene)
        if again is None or scene is None:
            return None
        with again() as frame:
            return Picture(copied(frame.planes), scene)

    def forget(self, stream: StreamName) -> None:
        """It is watched no more."""
        with self._lock:
            known = self._streams.pop(stream, None)
            for crops in () if known is None else known.crops.values():
                self._held -= sum(item.crop.nbytes for item in crops)

    def _of(self, stream: StreamName) -> _Stream:
        return self._streams.setdefault(stream, _Stream())

    def _let_go(self, crops: dict[TrackId, deque[TimedCrop]], pts_ns: int) -> None:
        """Of faces that are gone; media time that leaps means that all are."""
        for track_id, kept in list(crops.items()):
            if not 0 <= pts_ns - kept[-1].pts_ns <= FORGET_CROPS_S * 1e9:
                self._held -= sum(item.crop.nbytes for item in crops.pop(track_id))

    def _drop_oldest(self) -> None:
        """One crop of whichever face has most: all keep about as many."""
        groups = [(known.crops, track_id) for known in self._streams.values() for track_id in known.crops]
        crops, track_id = max(groups, key=lambda group: len(group[0][group[1]]))
        self._held -= crops[track_id].popleft().crop.nbytes
        if not crops[track_id]:
            del crops[track_id]


def copied(planes: Planes) -> Planes:
    """The same picture in memory of its own."""
    return Planes(planes.y.copy(), tuple(plane.copy() for plane in planes.chroma), planes.matrix, planes.full_range)


def _face_moment(face: FaceScore) -> FaceMoment:
    return FaceMoment(face.track_id, face.xyxy, face.verdict, face.fake_probability, face.reason, face.slots)
