"""Observers that are not the metrics: none, several at once, and one that remembers the newest facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stream.ports import Observer
from stream.types import FaceScore, StreamName, StreamState, Verdict


class SilentObserver:
    """Hears everything and does nothing; the others say only what they add."""

    def stream_state(self, stream: StreamName, state: StreamState) -> None: ...

    def frame_arrived(self, stream: StreamName, arrived_ns: int) -> None: ...

    def frame_damaged(self, stream: StreamName) -> None: ...

    def frame_dropped(self, stream: StreamName, stage: str, reason: str) -> None: ...

    def reconnected(self, stream: StreamName, reason: str) -> None: ...

    def source_fps(self, stream: StreamName, fps: float) -> None: ...

    def stage_took(self, stream: StreamName, stage: str, seconds: float) -> None: ...

    def faces_tracked(self, stream: StreamName, count: int) -> None: ...

    def face_rejected(self, stream: StreamName, reason: str) -> None: ...

    def window_scored(self, stream: StreamName, verdict: Verdict, fake_probability: float) -> None: ...

    def inference(self, model: str, backend: str, batch: int, seconds: float) -> None: ...

    def inference_failed(self, model: str, backend: str) -> None: ...

    def runtime_changed(self, model: str, before: str, after: str, reason: str) -> None: ...

    def verdict_changed(self, stream: StreamName, face: FaceScore) -> None: ...

    def sample_skipped(self, stream: StreamName, reason: str) -> None: ...

    def sampling_ratio(self, stream: StreamName, ratio: float) -> None: ...

    def overload_level(self, level: int) -> None: ...


class StreamFacts(SilentObserver):
    """Remembers each stream's measured rate and counts, for scenes and the closing summary.

    Written from several threads; each entry has one writer and a reader may see the value before.
    """

    def __init__(self) -> None:
        self.fps: dict[StreamName, float] = {}
        self.frames: Counter[StreamName] = Counter()
        self.drops: Counter[StreamName] = Counter()
        self.reconnects: Counter[StreamName] = Counter()
        self.windows: Counter[tuple[StreamName, Verdict]] = Counter()
        self.fallen_back: frozenset[str] = frozenset()
        """Models whose runtime failed while it ran, and that run on the CPU's since."""

    def forget_rate(self, stream: StreamName) -> None:
        """Of a stream that is watched no more; its counts stay for the summary."""
        self.fps.pop(stream, None)

    def source_fps(self, stream: StreamName, fps: float) -> None:
        self.fps[stream] = fps

    def frame_arrived(self, stream: StreamName, arrived_ns: int) -> None:  # noqa: ARG002 - the protocol's signature
        self.frames[stream] += 1

    def frame_dropped(self, stream: StreamName, stage: str, reason: str) -> None:  # noqa: ARG002
        self.drops[stream] += 1

    def reconnected(self, stream: StreamName, reason: str) -> None:  # noqa: ARG002
        self.reconnects[stream] += 1

    def window_scored(self, stream: StreamName, verdict: Verdict, fake_probability: float) -> None:  # noqa: ARG002
        self.windows[stream, verdict] += 1

    def runtime_changed(self, model: str, before: str, after: str, reason: str) -> None:  # noqa: ARG002
        self.fallen_back = self.fallen_back | {model} if reason == "failed" else self.fallen_back - {model}


class FanOut:
    """Tells several observers, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def _tell(self, event: str, *details: Any) -> None:
        for observer in self._observers:
            getattr(observer, event)(*details)

    def stream_state(self, stream: StreamName, state: StreamState) -> None:
        self._tell("stream_state", stream, state)

    def frame_arrived(self, stream: StreamName, arrived_ns: int) -> None:
        self._tell("frame_arrived", stream, arrived_ns)

    def frame_damaged(self, stream: StreamName) -> None:
        self._tell("frame_damaged", stream)

    def frame_dropped(self, stream: StreamName, stage: str, reason: str) -> None:
        self._tell("frame_dropped", stream, stage, reason)

    def reconnected(self, stream: StreamName, reason: str) -> None:
        self._tell("reconnected", stream, reason)

    def source_fps(self, stream: StreamName, fps: float) -> None:
        self._tell("source_fps", stream, fps)

    def stage_took(self, stream: StreamName, stage: str, seconds: float) -> None:
        self._tell("stage_took", stream, stage, seconds)

    def faces_tracked(self, stream: StreamName, count: int) -> None:
        self._tell("faces_tracked", stream, count)

    def face_rejected(self, stream: StreamName, reason: str) -> None:
        self._tell("face_rejected", stream, reason)

    def window_scored(self, stream: StreamName, verdict: Verdict, fake_probability: float) -> None:
        self._tell("window_scored", stream, verdict, fake_probability)

    def inference(self, model: str, backend: str, batch: int, seconds: float) -> None:
        self._tell("inference", model, backend, batch, seconds)

    def inference_failed(self, model: str, backend: str) -> None:
        self._tell("inference_failed", model, backend)

    def runtime_changed(self, model: str, before: str, after: str, reason: str) -> None:
        self._tell("runtime_changed", model, before, after, reason)

    def verdict_changed(self, stream: StreamName, face: FaceScore) -> None:
        self._tell("verdict_changed", stream, face)

    def sample_skipped(self, stream: StreamName, reason: str) -> None:
        self._tell("sample_skipped", stream, reason)

    def sampling_ratio(self, stream: StreamName, ratio: float) -> None:
        self._tell("sampling_ratio", stream, ratio)

    def overload_level(self, level: int) -> None:
        self._tell("overload_level", level)
