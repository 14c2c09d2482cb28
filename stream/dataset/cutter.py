"""From frames to face tracks exactly as the live path sees them, without a model.

Faces are looked for at the detector's live rate and cut once per slot of the sample period; what the quality gate
refuses is not kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from engines.preprocess import crop_planes, square_from_box
from engines.spec import WindowSpec
from engines.training.tracks import Sample
from stream.faces.quality import QualityLimits, quality_reason
from stream.ports import FaceDetector, FaceTracker
from stream.scoring.window import FeatureWindow
from stream.types import Frame, TrackedFace, TrackId


@dataclass(frozen=True)
class CutSettings:
    """What the pictures depend on, beside the video."""

    size: int = 256
    """Side of a crop, in pixels."""
    period_s: float = 0.2
    """Between two crops of a track."""
    margin: float = 1.0
    """Side of a crop as a multiple of the training crop's."""
    detect_period_s: float = 0.1
    detector: str = "centerface"


class FaceCutter:
    """The tracks of one video. Used by one thread."""

    def __init__(
        self, detector: FaceDetector, tracker: FaceTracker, quality: QualityLimits, settings: CutSettings
    ) -> None:
        self.tracks: dict[int, list[Sample]] = {}
        """Track id -> its samples so far."""
        self.rejected: Counter[str] = Counter()
        """Crops that the quality gate refused, by reason."""
        self._detector, self._tracker, self._quality, self._settings = detector, tracker, quality, settings
        self._slots: dict[TrackId, FeatureWindow] = {}
        self._segment: int | None = None
        self._detected_ns = 0

    def look(self, frame: Frame) -> None:
        """Take what is due from a borrowed frame."""
        if frame.segment != self._segment:
            self._begin(frame.segment)
        elif frame.pts_ns - self._detected_ns < round(self._detect_period_s * 1e9):
            return
        self._detected_ns = frame.pts_ns
        for face in self._tracker.update(self._detector.detect(frame), frame.pts_ns):
            if face.detected and self._slots_of(face.track_id).is_due(frame.pts_ns):
                self._cut(frame, face)

    @property
    def _detect_period_s(self) -> float:
        return min(self._settings.detect_period_s, self._settings.period_s)

    def _begin(self, segment: int) -> None:
        self._segment = segment
        self._tracker.reset()
        self._slots.clear()

    def _slots_of(self, track_id: TrackId) -> FeatureWindow:
        """Slots are counted as the live window counts them."""
        if track_id not in self._slots:
            self._slots[track_id] = FeatureWindow(WindowSpec(period_s=self._settings.period_s, feature_dim=1))
        return self._slots[track_id]

    def _cut(self, frame: Frame, face: TrackedFace) -> None:
        square = square_from_box(face.face.xyxy, self._detector.geometry, self._settings.margin)
        crop = crop_planes(frame.planes, square, self._settings.size)
        frame_wh = frame.planes.width, frame.planes.height
        reason = quality_reason(crop, square, face.face, frame_wh, self._quality)
        if reason is not None:
            self.rejected[reason.value] += 1
            return
        self._slots_of(face.track_id).add(frame.pts_ns, np.zeros(1, np.float32))
        self.tracks.setdefault(face.track_id, []).append(Sample(frame.pts_ns / 1e9, square.side, crop))
