"""Values that cross rooms and threads. All frozen; pixels are borrowed, never owned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

from engines.preprocess import Planes

StreamName = NewType("StreamName", str)
TrackId = NewType("TrackId", int)
Xyxy = tuple[float, float, float, float]

SOURCE_REASONS = (
    "eos",
    "error",
    "stalled",
    "unauthorized",
    "not_found",
    "untrusted",
    "refused",
    "timeout",
    "pts_jump",
    "caps_change",
)
"""Why a source was lost or its windows were reset: the closed set of metric labels."""


class StreamState(str, Enum):
    """Where a stream is in its life."""

    CONNECTING = "connecting"
    PLAYING = "playing"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    FAILED = "failed"


class Verdict(str, Enum):
    """What we show of a face."""

    WARMING_UP = "warming up"
    REAL = "real"
    UNSURE = "unsure"
    FAKE = "fake"


class QualityReason(str, Enum):
    """Why a face is not scored, or is shown as unsure."""

    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    DARK = "dark"
    CUT_OFF = "cut_off"
    LOW_CONFIDENCE = "low_confidence"
    DAMAGED = "damaged"


@dataclass(frozen=True, repr=False)
class Frame:
    """One decoded picture. Its planes are borrowed from the decoder: use it in a ``with``, copy to keep."""

    stream: StreamName
    planes: Planes
    pts_ns: int
    """Media time: a file's own, or the time since a live segment's start."""
    arrived_ns: int
    """``time.monotonic_ns()`` when the decoder handed it over."""
    segment: int
    """Counts up at every reconnect, PTS jump and resolution change: windows never span two."""
    release: Callable[[], None] = field(default=lambda: None, compare=False)
    """Gives the planes back; called by ``__exit__``."""
    again: Callable[[], Frame] | None = field(default=None, compare=False)
    """Borrows the same picture once more, after it was given back too; None where nobody can."""
    is_damaged: bool = False
    """Parts of it, or of a picture that it was predicted from, were lost on the way: shown, and never judged."""

    def __enter__(self) -> Frame:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Frame({self.stream}, {self.planes!r}, pts={self.pts_ns / 1e9:.3f}s, segment={self.segment})"


@dataclass(frozen=True)
class FaceBox:
    """One detected face."""

    xyxy: Xyxy
    """Left, top, right, bottom in frame pixels; may reach over the border."""
    confidence: float
    """Belief that it is a face, 0-1."""
    landmarks: tuple[tuple[float, float], ...] = ()
    """Right eye, left eye, nose, right and left mouth corner (the person's right), in frame pixels; or empty."""


@dataclass(frozen=True)
class TrackedFace:
    """A face with its identity over time."""

    track_id: TrackId
    face: FaceBox
    detected: bool
    """False when the box is the tracker's prediction, not this frame's detection."""


@dataclass(frozen=True)
class FaceScore:
    """What is known of one track at one moment: drawn, written and counted."""

    track_id: TrackId
    xyxy: Xyxy
    verdict: Verdict
    fake_probability: float | None
    """Calibrated, 1 = fake; None while no window has been scored."""
    reason: QualityReason | None = None
    """Why the verdict is unsure for other causes than the probability."""
    scored_pts_ns: int | None = None
    """Media time of the newest sample in the scored window."""
    slots: tuple[bool, ...] = ()
    """The window's mask, oldest first."""
    history: tuple[tuple[int, float], ...] = ()
    """(pts_ns, fake_probability) of the last 30 seconds, oldest first."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Of the box's centre, pixels per second; lets the overlay follow between detections."""


@dataclass(frozen=True)
class Scene:
    """All that the overlay draws on one stream; the newest replaces the one before."""

    stream: StreamName
    faces: tuple[FaceScore, ...] = ()
    pts_ns: int = 0
    """Media time of the analysed frame."""
    published_ns: int = 0
    """``time.monotonic_ns()`` at publication."""
    captured_ns: int = 0
    """``Frame.arrived_ns`` of the analysed frame: age of the scores = now - captured_ns."""
    fps: float = 0.0
    """The source's measured frame rate."""
    latency_ms: float = 0.0
    """Camera to score of the newest analysed frame."""
    model: str = ""
    backend: str = ""
    has_fallen_back: bool = False
    """Whether ``backend`` stands in for a runtime that failed while it ran."""
    detector_has_fallen_back: bool = False
    """Whether the face detector's does."""
    state: StreamState = StreamState.CONNECTING
    frame_wh: tuple[int, int] = (0, 0)
    """Size of the analysed frame, whose pixels the boxes are in; (0, 0): not known."""
    thinned_to: int = 1
    """The machine does not keep up: only every n-th slot of a window is sampled; 1: it does."""
    is_last: bool = False
    """The stream is watched no more: nothing follows, unless one of its name is added later."""


@dataclass(frozen=True)
class GpuReading:
    """One GPU in a slot, as its driver tells; None: not known."""

    number: int
    celsius: float | None = None
    watts: float | None = None
    load: float | None = None
    """0..1, of the last moment."""
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None


@dataclass(frozen=True)
class BoardReading:
    """What a board tells of itself at one moment; what it does not tell is missing or None, never 0."""

    celsius: Mapping[str, float] = field(default_factory=dict)
    """Zone -> the hottest of its sensors."""
    watts: Mapping[str, float] = field(default_factory=dict)
    """Rail -> power; ``total`` is the whole board's."""
    load: float | None = None
    """Of the board's own GPU, 0..1."""
    memory_used_bytes: int | None = None
    """Of the memory that the CPU and the GPU share."""
    memory_total_bytes: int | None = None
    gpus: tuple[GpuReading, ...] = ()
