"""One face's story for a summary: its scores, and its stretches of ``fake``. Bounded, however long the face stays."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from engines.spec import ModelSpec
from stream.scoring.calibration import fake_probability
from stream.scoring.timeline import Timeline
from stream.scoring.verdict import VerdictPolicy, threshold_label
from stream.types import TrackId, Verdict

STRETCHES_LIMIT = 256
"""Stretches of ``fake`` that are remembered of one track, newest first to stay."""


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


class Story:
    """Of one track."""

    def __init__(self) -> None:
        self._windows, self._logit_sum = 0, 0.0
        self._timeline = Timeline()
        self._fake: deque[tuple[int, int]] = deque(maxlen=STRETCHES_LIMIT)
        self._was_fake = False

    def add(self, pts_ns: int, logit: float, probability: float, verdict: Verdict) -> None:
        """A window's raw logit and calibrated probability, and the verdict that is shown from then on."""
        self._windows += 1
        self._logit_sum += logit
        self._timeline.add(pts_ns, probability)
        is_fake = verdict is Verdict.FAKE
        if is_fake and self._was_fake:
            self._fake[-1] = (self._fake[-1][0], pts_ns)
        elif is_fake:
            self._fake.append((pts_ns, pts_ns))
        self._was_fake = is_fake

    def show(self, verdict: Verdict) -> None:
        """What is shown without a new score: a stretch of ``fake`` may end."""
        self._was_fake = self._was_fake and verdict is Verdict.FAKE

    def summary(
        self, track_id: TrackId, span_ns: tuple[int, int], shown: Verdict, spec: ModelSpec, policy: VerdictPolicy
    ) -> TrackSummary:
        """``span_ns``: media time first and last seen; ``shown``: the verdict where no window was scored."""
        probability = self._mean_probability(spec)
        return TrackSummary(
            track_id=track_id,
            start_s=span_ns[0] / 1e9,
            end_s=span_ns[1] / 1e9,
            windows=self._windows,
            fake_probability=probability,
            verdict=shown if probability is None else threshold_label(probability, policy),
            timeline=tuple((pts_ns / 1e9, value) for pts_ns, value in self._timeline.points()),
            fake_stretches=tuple((start_ns / 1e9, end_ns / 1e9) for start_ns, end_ns in self._fake),
        )

    def _mean_probability(self, spec: ModelSpec) -> float | None:
        return None if self._windows == 0 else float(fake_probability(self._logit_sum / self._windows, spec))
