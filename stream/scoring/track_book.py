"""All that is known of one stream's faces over time: windows, verdicts, half a minute of history, and summaries.

Pure: it reads no clock and asks no model. The pipeline asks which faces are due, hands in features and logits, and
takes ``FaceScore`` values out. Used by one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from engines.preprocess import Floats
from engines.spec import ModelSpec
from stream.scoring.calibration import fake_probability
from stream.scoring.timeline import Timeline
from stream.scoring.verdict import VerdictPolicy, VerdictState, next_verdict, policy_of, threshold_label
from stream.scoring.window import FeatureWindow
from stream.types import FaceScore, QualityReason, TrackedFace, TrackId, Verdict

HISTORY_S = 30.0
"""How far back the history of a ``FaceScore`` reaches."""
FORGET_AFTER_S = 5.0
"""A track that was not seen for this long is over; trackers give up sooner."""
STRETCHES_LIMIT = 256
"""Stretches of ``fake`` that are remembered of one track, newest first to stay."""
ENDED_LIMIT = 1000
"""Summaries kept of tracks that are over, newest first to stay: a live run never ends."""


@dataclass(frozen=True)
class TrackSummary:
    """One face from its first to its last moment."""

    track_id: TrackId
    start_s: float
    end_s: float
    """Media time when the face was first and last seen, in seconds since the segment's start."""
    windows: int
    """Scored windows."""
    fake_probability: float | None
    """Calibrated probability of the mean logit over all scored windows, 1 = fake; None when none was scored."""
    verdict: Verdict
    """What that probability says by the model's thresholds; without one, the last verdict shown."""
    timeline: tuple[tuple[float, float], ...]
    """(seconds, fake_probability) of the scored windows, unsmoothed; thinned evenly when very long."""
    fake_stretches: tuple[tuple[float, float], ...] = ()
    """(start, end) in seconds: when the verdict was ``fake``, as a live view would have shown it."""


@dataclass
class _Track:
    """What is remembered of one face."""

    window: FeatureWindow
    start_ns: int
    seen_ns: int
    state: VerdictState = field(default_factory=VerdictState)
    unscored: bool = False
    """The window gained a sample that has not been scored."""
    sampled_ns: int | None = None
    """Media time of the window's newest sample."""
    scored_sample_ns: int | None = None
    """The same when the window was last scored."""
    windows: int = 0
    logit_sum: float = 0.0
    history: deque[tuple[int, float]] = field(default_factory=deque)
    timeline: Timeline = field(default_factory=Timeline)
    fake: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=STRETCHES_LIMIT))
    """Stretches of ``fake`` in media time."""
    was_fake: bool = False


class TrackBook:
    """The tracks of one stream."""

    def __init__(
        self, spec: ModelSpec, policy: VerdictPolicy | None = None, *, ended_limit: int | None = ENDED_LIMIT
    ) -> None:
        """``policy``: None takes the model's own limits. ``ended_limit``: None keeps every summary (files end)."""
        self._spec = spec
        self._policy = policy or policy_of(spec)
        self._tracks: dict[TrackId, _Track] = {}
        self._ended: deque[TrackSummary] = deque(maxlen=ended_limit)

    def begin_segment(self) -> None:
        """End every track: no window spans a reconnect, a PTS jump or a change of resolution."""
        for track_id in list(self._tracks):
            self._end(track_id)

    def forget_samples(self) -> None:
        """Every window begins anew; tracks, their verdicts and histories stay."""
        for track in self._tracks.values():
            track.window.clear()
            track.unscored = False

    def due(self, track_ids: Sequence[TrackId], pts_ns: int) -> tuple[TrackId, ...]:
        """Those of the given tracks that have no sample in the slot of ``pts_ns``, in the given order."""
        return tuple(key for key in track_ids if self._track(key, pts_ns).window.is_due(pts_ns))

    def slot_at(self, track_id: TrackId, pts_ns: int) -> tuple[int, int | None]:
        """The number of the track's slot at ``pts_ns``, and its distance from the newest sample's; None without one."""
        return self._track(track_id, pts_ns).window.slot_at(pts_ns)

    def remember(self, track_id: TrackId, pts_ns: int, feature: Floats) -> None:
        """Put a feature (F,) into the track's window. Raises ValueError when the slot is taken."""
        track = self._track(track_id, pts_ns)
        track.window.add(pts_ns, feature)
        track.sampled_ns = pts_ns
        track.unscored = True

    def windows_to_score(self) -> tuple[tuple[TrackId, ...], Floats, Floats]:
        """Tracks whose window gained a sample and is filled enough, their windows (N, T, F) and masks (N, T).

        They stay due until ``set_scores``: a failed inference loses nothing.
        """
        ready = [key for key, track in self._tracks.items() if track.unscored and self._is_warm(track)]
        window = self._spec.window
        features = np.empty((len(ready), window.slots, window.feature_dim), np.float32)
        masks = np.empty((len(ready), window.slots), np.float32)
        for row, key in enumerate(ready):
            self._tracks[key].window.copy_into(features[row], masks[row])
        return tuple(ready), features, masks

    def set_scores(self, track_ids: Sequence[TrackId], logits: ArrayLike, pts_ns: int) -> None:
        """The head's raw logits (N,) of the windows that ``windows_to_score`` gave."""
        raw = np.asarray(logits, np.float64)
        for track_id, logit, probability in zip(track_ids, raw, fake_probability(raw, self._spec), strict=True):
            self._set_score(self._tracks[track_id], float(logit), float(probability), pts_ns)

    def face_scores(
        self, tracks: Sequence[TrackedFace], qualities: Mapping[TrackId, QualityReason | None], pts_ns: int
    ) -> tuple[FaceScore, ...]:
        """What to show of the faces in view at ``pts_ns``; a track that is long out of view is forgotten."""
        for face in tracks:
            track = self._track(face.track_id, pts_ns)
            track.seen_ns = pts_ns
            track.state = next_verdict(track.state, None, qualities.get(face.track_id), pts_ns, self._policy)
            track.was_fake = track.was_fake and track.state.verdict is Verdict.FAKE  # a stretch ends unscored, too
        self._forget(pts_ns)
        return tuple(self._face_score(face, pts_ns) for face in tracks)

    def summaries(self) -> tuple[TrackSummary, ...]:
        """Every track so far, in the order they ended; those still in view come last."""
        return (*self._ended, *(self._summary(key) for key in self._tracks))

    def _track(self, track_id: TrackId, pts_ns: int) -> _Track:
        if track_id not in self._tracks:
            self._tracks[track_id] = _Track(FeatureWindow(self._spec.window), pts_ns, pts_ns)
        return self._tracks[track_id]

    def _is_warm(self, track: _Track) -> bool:
        return track.window.count >= self._spec.window.min_samples

    def _set_score(self, track: _Track, logit: float, probability: float, pts_ns: int) -> None:
        track.unscored = False
        track.scored_sample_ns = track.sampled_ns
        track.windows += 1
        track.logit_sum += logit
        track.timeline.add(pts_ns, probability)
        track.state = next_verdict(track.state, probability, None, pts_ns, self._policy)
        _note_fake(track, pts_ns)
        if track.state.fake_probability is not None:
            track.history.append((pts_ns, track.state.fake_probability))

    def _face_score(self, face: TrackedFace, pts_ns: int) -> FaceScore:
        track = self._tracks[face.track_id]
        while track.history and track.history[0][0] < pts_ns - HISTORY_S * 1e9:
            track.history.popleft()
        state = track.state
        return FaceScore(
            track_id=face.track_id,
            xyxy=face.face.xyxy,
            verdict=state.verdict,
            fake_probability=state.fake_probability,
            reason=state.reason,
            scored_pts_ns=None if state.logit is None else track.scored_sample_ns,
            slots=track.window.slots_at(pts_ns),
            history=tuple(track.history),
        )

    def _forget(self, pts_ns: int) -> None:
        overdue = [key for key, track in self._tracks.items() if pts_ns - track.seen_ns > FORGET_AFTER_S * 1e9]
        for track_id in overdue:
            self._end(track_id)

    def _end(self, track_id: TrackId) -> None:
        self._ended.append(self._summary(track_id))
        del self._tracks[track_id]

    def _summary(self, track_id: TrackId) -> TrackSummary:
        track = self._tracks[track_id]
        probability = self._mean_probability(track)
        shown = track.state.verdict if probability is None else threshold_label(probability, self._policy)
        return TrackSummary(
            track_id=track_id,
            start_s=track.start_ns / 1e9,
            end_s=track.seen_ns / 1e9,
            windows=track.windows,
            fake_probability=probability,
            verdict=shown,
            timeline=tuple((pts_ns / 1e9, value) for pts_ns, value in track.timeline.points()),
            fake_stretches=tuple((start_ns / 1e9, end_ns / 1e9) for start_ns, end_ns in track.fake),
        )

    def _mean_probability(self, track: _Track) -> float | None:
        if track.windows == 0:
            return None
        return float(fake_probability(track.logit_sum / track.windows, self._spec))


def _note_fake(track: _Track, pts_ns: int) -> None:
    """Lengthen the newest stretch, or begin one."""
    is_fake = track.state.verdict is Verdict.FAKE
    if is_fake and track.was_fake:
        track.fake[-1] = (track.fake[-1][0], pts_ns)
    elif is_fake:
        track.fake.append((pts_ns, pts_ns))
    track.was_fake = is_fake
