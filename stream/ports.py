"""The seams between rooms: protocols only."""

from __future__ import annotations

from typing import Protocol

from engines.preprocess import BoxGeometry, Bytes
from stream.types import FaceBox, FaceScore, Frame, Scene, StreamName, StreamState, TrackedFace, TrackId, Verdict


class Clock(Protocol):
    """Monotonic time; tests pass a hand-wound one."""

    def __call__(self) -> int:
        """Nanoseconds, as ``time.monotonic_ns``."""


class Source(Protocol):
    """Frames of one stream, in order. Read by one thread."""

    @property
    def name(self) -> StreamName: ...

    @property
    def is_live(self) -> bool:
        """Live: newest wins and drops are counted. Otherwise the source waits for its reader."""

    @property
    def state(self) -> StreamState: ...

    @property
    def decoder(self) -> str | None:
        """The decoder that really runs, by its GStreamer name; None before the first frame."""

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame (live: the newest), or None when none came in time or the source has ended.

        Raises SourceError when the source cannot be read and will not be retried. Release one frame before the next.
        """

    def close(self) -> None: ...


class FaceDetector(Protocol):
    """Finds faces in a borrowed frame."""

    @property
    def name(self) -> str: ...

    @property
    def backend_name(self) -> str:
        """Of the runtime it runs on."""

    @property
    def precision(self) -> str:
        """Of the engine it was opened with: ``fp32``, ``bf16``, …"""

    @property
    def geometry(self) -> BoxGeometry: ...

    def detect(self, frame: Frame) -> tuple[FaceBox, ...]: ...


class FaceTracker(Protocol):
    """Keeps identities over one stream's detections. Pure in time: it reads no clock."""

    def update(self, faces: tuple[FaceBox, ...], pts_ns: int) -> tuple[TrackedFace, ...]:
        """Faces alive after this frame's detections; ids are never reused."""

    def reset(self) -> None:
        """Forget all tracks (new segment); ids still go on counting."""


class SceneSource(Protocol):
    """Where the overlay finds what to draw; read from GStreamer's threads."""

    def newest(self) -> Scene | None: ...


class Sink(Protocol):
    """Takes scenes as they are published: terminal table, JSON lines, …"""

    def publish(self, scene: Scene) -> None: ...

    def close(self) -> None: ...


class Witness(Protocol):
    """Sees what the analysis sees, to remember some of it. On the analysis thread: must return at once, never raise."""

    def face_embedded(self, stream: StreamName, track_id: TrackId, pts_ns: int, crop: Bytes) -> None:
        """``crop``: (S, S, 3) RGB as the model was given it; never written into afterwards, so it may be kept."""

    def frame_analysed(self, frame: Frame, scene: Scene) -> None:
        """``frame`` is borrowed; ``frame.again`` borrows it once more."""


class Observer(Protocol):
    """Told of everything that happens; the metrics are one, tests use a list. Must return at once, never raise."""

    def stream_state(self, stream: StreamName, state: StreamState) -> None: ...

    def frame_arrived(self, stream: StreamName, arrived_ns: int) -> None: ...

    def frame_damaged(self, stream: StreamName) -> None:
        """The frame that has just arrived cannot be judged: see ``Frame.is_damaged``."""

    def frame_dropped(self, stream: StreamName, stage: str, reason: str) -> None:
        """``stage``: ``analysis`` | ``video``; ``reason``: ``newer_frame`` | ``error`` | ``turn``."""

    def reconnected(self, stream: StreamName, reason: str) -> None:
        """``reason``: one of SOURCE_REASONS."""

    def source_fps(self, stream: StreamName, fps: float) -> None: ...

    def stage_took(self, stream: StreamName, stage: str, seconds: float) -> None:
        """``stage``: ``decode`` | ``detect`` | ``embed`` | ``head`` | ``overlay`` | ``e2e``."""

    def faces_tracked(self, stream: StreamName, count: int) -> None: ...

    def face_rejected(self, stream: StreamName, reason: str) -> None:
        """``reason``: a QualityReason's value."""

    def window_scored(self, stream: StreamName, verdict: Verdict, fake_probability: float) -> None: ...

    def inference(self, model: str, backend: str, batch: int, seconds: float) -> None: ...

    def inference_failed(self, model: str, backend: str) -> None: ...

    def runtime_changed(self, model: str, before: str, after: str, reason: str) -> None:
        """``reason``: ``built`` (an engine came in) | ``failed`` (a runtime was left for the one that always runs)."""

    def verdict_changed(self, stream: StreamName, face: FaceScore) -> None: ...

    def sample_skipped(self, stream: StreamName, reason: str) -> None:
        """A slot of a face in view stayed empty; ``reason``: a SkipReason's value."""

    def sampling_ratio(self, stream: StreamName, ratio: float) -> None:
        """Share of slots that are sampled from now on, calm faces aside."""

    def overload_level(self, level: int) -> None: ...
