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
from stream.scoring.story import Story, TrackSummary
from stream.scoring.verdict import VerdictPolicy, VerdictState, next_verdict, policy_of
from stream.scoring.window import FeatureWindow
from stream.types import FaceScore, QualityReason, TrackedFace, TrackId

HISTORY_S = 30.0
"""How far back the history of a ``FaceScore`` reaches."""
FORGET_AFTER_S = 5.0
"""A track that was not seen for this long is over; trackers give up sooner."""


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
    history: deque[tuple[int, float]] = field(default_factory=deque)
    story: Story | None = None
    """None where nobody will ask for summaries."""


class TrackBook:
    """The tracks of one stream."""

    def __init__(self, spec: ModelSpec, policy: VerdictPolicy | None = None, *, keeps_summaries: bool = True) -> None:
        """``policy``: None takes the model's own limits. ``keeps_summaries``: not for what never ends."""
        self._spec = spec
        self._policy = policy or policy_of(spec)
        self._tracks: dict[TrackId, _Track] = {}
        self._keeps_summaries = keeps_summaries
        self._ended: list[TrackSummary] = []

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
            if track.story is not None:
                track.story.show(track.state.verdict)
        self._forget(pts_ns)
        return tuple(self._face_score(face, pts_ns) for face in tracks)

    def summaries(self) -> tuple[TrackSummary, ...]:
        """Every track so far, in the order they ended; those still in view come last. None where none is kept."""
        in_view = (self._summary(track_id, track) for track_id, track in self._tracks.items())
        return (*self._ended, *(summary for summary in in_view if summary is not None))

    def _track(self, track_id: TrackId, pts_ns: int) -> _Track:
        if track_id not in self._tracks:
            story = Story() if self._keeps_summaries else None
            self._tracks[track_id] = _Track(FeatureWindow(self._spec.window), pts_ns, pts_ns, story=story)
        return self._tracks[track_id]

    def _is_warm(self, track: _Track) -> bool:
        return track.window.count >= self._spec.window.min_samples

    def _set_score(self, track: _Track, logit: float, probability: float, pts_ns: int) -> None:
        track.unscored = False
        track.scored_sample_ns = track.sampled_ns
        track.state = next_verdict(track.state, probability, None, pts_ns, self._policy)
        if track.story is not None:
            track.story.add(pts_ns, logit, probability, track.state.verdict)
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
        summary = self._summary(track_id, self._tracks.pop(track_id))
        if summary is not None:
            self._ended.append(summary)

    def _summary(self, track_id: TrackId, track: _Track) -> TrackSummary | None:
        if track.story is None:
            return None
        span_ns = (track.start_ns, track.seen_ns)
        return track.story.summary(track_id, span_ns, track.state.verdict, self._spec, self._policy)
