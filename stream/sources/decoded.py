"""From a decoded sample to a borrowed Frame: the same for live sources and files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stream.gst.buffers import map_planes, running_ns, video_info
from stream.gst.damage import is_damaged
from stream.gst.faults import Fault
from stream.sources.timeline import Place, Timeline
from stream.types import Frame, StreamName


class Session(Protocol):
    """What a source needs of stream.gst.session.GstSession."""

    @property
    def decoder(self) -> str: ...

    @property
    def duration_s(self) -> float | None: ...

    @property
    def is_drained(self) -> bool: ...

    def start(self) -> None: ...

    def pull(self, timeout_s: float) -> Any: ...

    def fault(self) -> Fault | None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class DecodedFrame:
    """A sample with its place in the stream; not mapped yet."""

    sample: Any
    info: Any
    place: Place
    arrived_ns: int
    is_damaged: bool = False
    """See ``Frame.is_damaged``."""

    def borrow(self, stream: StreamName, after_release: Callable[[], None] = lambda: None) -> Frame:
        """Map it. ``after_release`` is called once, when the reader gives the frame back."""
        planes, unmap = map_planes(self.sample.get_buffer(), self.info)
        release = _Once(unmap, after_release)
        place = self.place
        return Frame(
            stream,
            planes,
            place.pts_ns,
            self.arrived_ns,
            place.segment,
            release,
            again=lambda: self.borrow(stream),
            is_damaged=self.is_damaged,
        )


class FrameReader:
    """Places samples on a timeline. Used by one thread at a time."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._caps: Any = None
        self._info: Any = None

    def read(self, sample: Any, arrived_ns: int) -> DecodedFrame:
        info = self._info_of(sample.get_caps())
        place = self.timeline.place(self._time_of(sample, arrived_ns), (info.width, info.height))
        return DecodedFrame(sample, info, place, arrived_ns, is_damaged(sample.get_buffer()))

    def _time_of(self, sample: Any, arrived_ns: int) -> int:
        told_ns = running_ns(sample)
        return arrived_ns if told_ns is None else told_ns  # cameras that stamp no frames

    def _info_of(self, caps: Any) -> Any:
        if self._caps is None or not self._caps.is_equal(caps):
            self._info, self._caps = video_info(caps), caps
        return self._info


class _Once:
    """Calls its steps in order, the first time only."""

    def __init__(self, *steps: Callable[[], None]) -> None:
        self._steps = steps

    def __call__(self) -> None:
        steps, self._steps = self._steps, ()
        for step in steps:
            step()
