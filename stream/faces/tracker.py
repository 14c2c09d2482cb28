"""Identities over time: a small tracker in the manner of SORT, but measured in seconds.

Faces are looked for 5-10 times a second, at uneven moments: the frame counts that public trackers keep would stretch
and shrink with the detector's speed, and their packages bring a second FFmpeg (PyAV) and matplotlib into a video
process. Source: Bewley et al., "Simple Online and Realtime Tracking" (2016): predict, assign, confirm, give up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment

from engines.postprocess import iou
from engines.runtime.ports import Array
from stream.motion import velocity_between
from stream.types import FaceBox, TrackedFace, TrackId

T = TypeVar("T")
_FORBIDDEN = 1e6
"""Cost of a pair that must not be matched: more than all true costs together."""


@dataclass(frozen=True)
class TrackerLimits:
    """When a face becomes a track, stays one and is given up."""

    sure_confidence: float = 0.7
    """A face this certain is a track at its first detection; a fainter one at its second, or it would flicker."""
    lost_after_s: float = 1.0
    """A track that was not detected for longer is given up; its id is never used again."""
    tentative_after_s: float = 0.5
    """The same for a face detected only once."""
    reach: float = 0.5
    """How far a face's centre may be from where it was expected, in sides of its box."""
    reach_per_s: float = 0.8
    """What is added to ``reach`` for each second since it was last detected."""
    size_ratio: float = 1.8
    """How much larger or smaller than the track's last box a face may be."""
    velocity_s: float = 0.15
    """Time constant at which a track takes on a newly measured velocity."""
    coast_s: float = 0.6
    """An unseen face goes on at its velocity for about so long, then stands still."""
    hidden_iou: float = 0.5
    """A predicted face that a detected one covers this much is kept but not shown."""


@dataclass(frozen=True)
class Track:
    """What is remembered of one face."""

    track_id: TrackId | None
    """None until the face is confirmed."""
    face: FaceBox
    """Of its newest detection."""
    seen_ns: int
    velocity: tuple[float, float] = (0.0, 0.0)
    """Of the box's centre, in pixels per second."""


class TimeTracker:
    """A FaceTracker. Pure in time: it reads no clock. Used by one thread."""

    def __init__(self, limits: TrackerLimits) -> None:
        self._limits = limits
        self._tracks: tuple[Track, ...] = ()
        self._next_id = 1

    def update(self, faces: tuple[FaceBox, ...], pts_ns: int) -> tuple[TrackedFace, ...]:
        """Confirmed faces: those detected now, and the predicted places of those that were seen a moment ago."""
        alive = tuple(track for track in self._tracks if _is_alive(track, pts_ns, self._limits))
        matches = match(alive, faces, pts_ns, self._limits)
        followed = [
            self._named(_seen_again(alive[row], faces[column], pts_ns, self._limits)) for row, column in matches
        ]
        born = [self._born(face, pts_ns) for face in _without(faces, {column for _, column in matches})]
        self._tracks = (*followed, *born, *_without(alive, {row for row, _ in matches}))
        return self._shown(pts_ns)

    def reset(self) -> None:
        """Forget all tracks; ids go on counting."""
        self._tracks = ()

    def _born(self, face: FaceBox, pts_ns: int) -> Track:
        track = Track(None, face, pts_ns)
        return self._named(track) if face.confidence >= self._limits.sure_confidence else track

    def _named(self, track: Track) -> Track:
        """The track with an id of its own."""
        if track.track_id is not None:
            return track
        self._next_id += 1
        return replace(track, track_id=TrackId(self._next_id - 1))

    def _shown(self, pts_ns: int) -> tuple[TrackedFace, ...]:
        named = [
            TrackedFace(track.track_id, predicted(track, pts_ns, self._limits), detected=track.seen_ns == pts_ns)
            for track in self._tracks
            if track.track_id is not None
        ]
        shown = [one for one in named if one.detected or not _is_covered(one, named, self._limits.hidden_iou)]
        return tuple(sorted(shown, key=lambda one: one.track_id))


def open_tracker(*, lost_after_s: float = TrackerLimits.lost_after_s) -> TimeTracker:
    """A tracker for one stream."""
    return TimeTracker(TrackerLimits(lost_after_s=lost_after_s))


def predicted(track: Track, pts_ns: int, limits: TrackerLimits) -> FaceBox:
    """The track's face moved on to ``pts_ns``; its velocity dies away over ``coast_s``."""
    gone_s = (pts_ns - track.seen_ns) / 1e9
    if gone_s <= 0:
        return track.face
    coasted_s = limits.coast_s * -math.expm1(-gone_s / limits.coast_s)
    return _moved(track.face, track.velocity[0] * coasted_s, track.velocity[1] * coasted_s)


def match(
    tracks: Sequence[Track], faces: Sequence[FaceBox], pts_ns: int, limits: TrackerLimits
) -> list[tuple[int, int]]:
    """(track, face) rows of the pairs that together cost least; pairs that are too far apart stay single."""
    if not tracks or not faces:
        return []
    costs = _costs(tracks, faces, pts_ns, limits)
    pairs = zip(*linear_sum_assignment(costs), strict=True)
    return [(int(row), int(column)) for row, column in pairs if costs[row, column] < _FORBIDDEN]


def _costs(tracks: Sequence[Track], faces: Sequence[FaceBox], pts_ns: int, limits: TrackerLimits) -> Array:
    """(tracks, faces): centre distance in box sides plus what is missing of the overlap."""
    expected = np.array([predicted(track, pts_ns, limits).xyxy for track in tracks])
    found = np.array([face.xyxy for face in faces])
    distance = np.linalg.norm(_centres(expected)[:, None] - _centres(found)[None], axis=-1) / _sides(expected)[:, None]
    ratio = np.abs(np.log(_sides(expected)[:, None] / _sides(found)[None]))
    gone_s = np.array([(pts_ns - track.seen_ns) / 1e9 for track in tracks])
    allowed = (distance <= limits.reach + limits.reach_per_s * gone_s[:, None]) & (ratio <= math.log(limits.size_ratio))
    return np.where(allowed, distance + 1.0 - iou(expected, found), _FORBIDDEN)


def _seen_again(track: Track, face: FaceBox, pts_ns: int, limits: TrackerLimits) -> Track:
    gone_s = (pts_ns - track.seen_ns) / 1e9
    if gone_s <= 0:
        return replace(track, face=face, seen_ns=pts_ns)
    measured = velocity_between(track.face.xyxy, face.xyxy, gone_s)
    share = -math.expm1(-gone_s / limits.velocity_s)
    (vx, vy), (new_vx, new_vy) = track.velocity, measured
    return replace(track, face=face, seen_ns=pts_ns, velocity=(vx + share * (new_vx - vx), vy + share * (new_vy - vy)))


def _is_alive(track: Track, pts_ns: int, limits: TrackerLimits) -> bool:
    """Also false for a track from the future: media time that runs backwards starts anew."""
    limit_s = limits.tentative_after_s if track.track_id is None else limits.lost_after_s
    return 0 <= pts_ns - track.seen_ns <= limit_s * 1e9


def _is_covered(face: TrackedFace, others: Sequence[TrackedFace], limit: float) -> bool:
    seen = [other.face.xyxy for other in others if other.detected]
    return bool(seen) and float(iou(np.array([face.face.xyxy]), np.array(seen)).max()) >= limit


def _without(values: Sequence[T], rows: set[int]) -> list[T]:
    return [value for row, value in enumerate(values) if row not in rows]


def _moved(face: FaceBox, dx: float, dy: float) -> FaceBox:
    x1, y1, x2, y2 = face.xyxy
    landmarks = tuple((x + dx, y + dy) for x, y in face.landmarks)
    return FaceBox((x1 + dx, y1 + dy, x2 + dx, y2 + dy), face.confidence, landmarks)


def _centres(xyxy: Array) -> Array:
    return np.asarray((xyxy[:, :2] + xyxy[:, 2:]) / 2)


def _sides(xyxy: Array) -> Array:
    """Larger side of each box, at least a pixel."""
    return np.asarray(np.maximum((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1), 1.0))
