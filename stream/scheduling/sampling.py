"""Which slots of a stream's faces are sampled, which face goes first, and why a slot stayed empty.

Slots stay uniform in time whatever is decided here: a slot that is not sampled is masked, and nothing is stretched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from engines.spec import WindowSpec
from stream.scheduling.plan import CalmPolicy, StreamPlan, longest_stride
from stream.types import FaceScore, TrackId, Verdict


class SkipReason(str, Enum):
    """Why a slot was left empty although the face was in view."""

    BATCH = "batch"
    """The step was full, and no later frame of the slot had room."""
    CONFIGURED = "configured"
    """The stream's ``sample_every``."""
    OVERLOAD = "overload"
    """The machine does not keep up."""
    CALM = "calm"
    """The face has long been real without a doubt."""


@dataclass(frozen=True)
class Stride:
    """Every how many slots a face is sampled, by who asks for it; each at least as long as the one before."""

    configured: int = 1
    overload: int = 1
    calm: int = 1

    def skips(self, steps: int | None) -> SkipReason | None:
        """Why a slot ``steps`` after the newest sample is left empty; None when it is to be sampled.

        ``steps``: None in an empty window; negative when time went back, which begins a new one.
        """
        if steps is None or steps < 0 or steps >= self.calm:
            return None
        if steps < self.configured:
            return SkipReason.CONFIGURED
        return SkipReason.OVERLOAD if steps < self.overload else SkipReason.CALM


@dataclass
class _Face:
    """What is remembered of a face between frames."""

    low_ns: int | None = None
    """Since when it has had nothing suspicious."""
    probability: float | None = None
    is_suspicious: bool = False
    tried_ns: int | None = None
    """When its crop was last taken, good or poor."""
    slot: int | None = None
    """The slot that was last looked at."""
    skipped: SkipReason | None = None
    """Why it is still empty."""


class FaceSampler:
    """The faces of one stream. Used by one thread; time is media time."""

    def __init__(self, plan: StreamPlan, window: WindowSpec, calm: CalmPolicy | None = None) -> None:
        self._plan, self._window, self._calm = plan, window, calm or CalmPolicy()
        self._longest = longest_stride(window)
        self._faces: dict[TrackId, _Face] = {}

    def begin_segment(self) -> None:
        """Windows start afresh, and so does everything here."""
        self._faces.clear()

    def stride(self, track_id: TrackId, pts_ns: int, overload: int = 1) -> Stride:
        """Of one face now; ``overload``: by how much the stream is thinned out."""
        configured = min(self._plan.sample_every, self._longest)
        thinned = min(configured * overload, self._longest)
        calm = min(self._calm.every, self._longest) if self._is_calm(track_id, pts_ns) else 1
        return Stride(configured, thinned, max(thinned, calm))

    def in_order(self, track_ids: Iterable[TrackId], pts_ns: int) -> tuple[TrackId, ...]:
        """Who goes first: a face never tried, then by the time since it was; a suspicious one's time counts twice."""
        return tuple(sorted(track_ids, key=lambda track_id: -self._urgency(self._face(track_id), pts_ns)))

    def looked(self, track_id: TrackId, slot: int, skips: SkipReason | None) -> SkipReason | None:
        """A look at the empty slot number ``slot``, and why it is left so for now; None: it wants a sample.

        Returns why the slot looked at before stayed empty, once, when that one is over.
        """
        face = self._face(track_id)
        over = face.skipped if face.slot is not None and face.slot != slot else None
        face.slot, face.skipped = slot, skips
        return over

    def tried(self, track_id: TrackId, pts_ns: int) -> None:
        """Its crop was taken: whether it was good enough is told elsewhere."""
        self._face(track_id).tried_ns = pts_ns

    def left_out(self, track_id: TrackId) -> None:
        """It wanted a sample and the step was full."""
        self._face(track_id).skipped = SkipReason.BATCH

    def learn(self, faces: Sequence[FaceScore], pts_ns: int) -> None:
        """What the newest scores say; faces out of view are forgotten, so that they come back at the full rate."""
        seen = {face.track_id for face in faces}
        self._faces = {track_id: face for track_id, face in self._faces.items() if track_id in seen}
        for score in faces:
            self._judge(self._face(score.track_id), score, pts_ns)

    def _judge(self, face: _Face, score: FaceScore, pts_ns: int) -> None:
        before, face.probability = face.probability, score.fake_probability
        is_judged = score.verdict is Verdict.REAL and score.reason is None and score.fake_probability is not None
        face.is_suspicious = score.verdict in (Verdict.FAKE, Verdict.UNSURE) and score.reason is None
        if not is_judged or self._rises(before, score.fake_probability or 0.0) or not self._is_filled(score.slots):
            face.low_ns = None
        elif face.low_ns is None:
            face.low_ns = pts_ns

    def _rises(self, before: float | None, now: float) -> bool:
        return now > self._calm.below or (before is not None and now > before + self._calm.rise)

    def _is_filled(self, slots: Sequence[bool]) -> bool:
        """As many samples as the stride allows, but for one; never fewer than a score needs."""
        return sum(slots) >= max(self._window.slots // self._longest - 1, self._window.min_samples)

    def _is_calm(self, track_id: TrackId, pts_ns: int) -> bool:
        face = self._faces.get(track_id)
        return face is not None and face.low_ns is not None and pts_ns - face.low_ns >= self._calm.after_s * 1e9

    def _urgency(self, face: _Face, pts_ns: int) -> float:
        if face.tried_ns is None:
            return float("inf")
        return (pts_ns - face.tried_ns) * (2 if face.is_suspicious else 1)

    def _face(self, track_id: TrackId) -> _Face:
        return self._faces.setdefault(track_id, _Face())
