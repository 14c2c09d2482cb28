"""A source that waits for its reader: every frame, in order, as fast as it is asked for."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream.errors import SourceError
from stream.gst.faults import END, Fault
from stream.gst.session import VideoTap
from stream.ports import Clock, Observer
from stream.sources.decoded import DecodedFrame, FrameReader, Session
from stream.sources.timeline import FrameRate, Timeline
from stream.sources.uri import SourceUri, redacted_path
from stream.types import Frame, StreamName, StreamState

OpenSession = Callable[[Callable[[], None] | None, Callable[[float], None]], Session]
"""Builds a session from (on_waiting, on_decoded); raises MissingPartError."""

DRAIN_S = 1.0
"""How long frames that were decoded before an error may take to come out."""
STALLED = Fault("stalled", "gives no picture and no error: copy or record it again")
STALLED_AFTER_S = 60.0
"""Silence after which a file is given up, counted from the first read that found nothing."""
SHORT_BY_S = 1.0
"""A file that ends this much before its own length was cut off."""


class FileSource:
    """Frames of a file or a download. Everything belongs to one reader thread."""

    is_live = False

    def __init__(
        self,
        name: StreamName,
        uri: SourceUri,
        open_session: OpenSession,
        *,
        observer: Observer,
        clock: Clock = time.monotonic_ns,
        video: VideoTap | None = None,
        on_frame: Callable[[], None] | None = None,
        stalled_after_s: float = STALLED_AFTER_S,
    ) -> None:
        """Raises SourceError for a path that cannot be a video."""
        if uri.kind == "file":
            check_file(Path(uri.location))
        self.name = name
        self.warning: str | None = None
        """What was wrong with a file that could be played in part; known at its end."""
        self.duration_s: float | None = None
        """Of the whole file, where it tells; known from the first frame on."""
        self.size_wh: tuple[int, int] | None = None
        """Of the newest frame."""
        self._uri, self._observer, self._clock, self._video = uri, observer, clock, video
        self._reader = FrameReader(Timeline(rebased=False, longest_gap_ns=None))
        self._rate = FrameRate()
        self._last: DecodedFrame | None = None
        self._stalled_after_s = stalled_after_s
        self._waiting_since_ns: int | None = None
        self._state = StreamState.CONNECTING
        self._decoder: str | None = None
        self._observer.stream_state(name, self._state)
        self._session = open_session(on_frame, self._decoded)
        self._session.start()

    @property
    def state(self) -> StreamState:
        return self._state

    @property
    def decoder(self) -> str | None:
        """The decoder that really runs, by its GStreamer name; None before the first frame."""
        return self._decoder

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None when none came in time or the file has ended.

        Releasing a frame hands it to the video, so that the overlay already knows its verdicts. Raises SourceError.
        """
        if self._state in (StreamState.ENDED, StreamState.FAILED):
            return None
        sample = self._session.pull(timeout_s) or self._leftover()
        if sample is None:
            return None
        self._waiting_since_ns = None
        return self._frame(sample)

    def close(self) -> None:
        """Give back the decoder; may be called again."""
        self._session.stop()
        if self._state is not StreamState.FAILED:
            self._enter(StreamState.ENDED)

    def _leftover(self) -> Any:
        """No frame came: because of the end, an error, or a decoder that needs longer?"""
        fault = self._session.fault() or self._silence()
        if fault is None:
            return None
        sample = None if fault is END else self._session.pull(DRAIN_S)
        if sample is None:
            self._finish(fault)
        return sample

    def _silence(self) -> Fault | None:
        """The watchdog, for what nobody foresaw: no pipeline is waited for for ever."""
        now_ns = self._clock()
        if self._waiting_since_ns is None:
            self._waiting_since_ns = now_ns
        return STALLED if now_ns - self._waiting_since_ns > self._stalled_after_s * 1e9 else None

    def _finish(self, fault: Fault) -> None:
        if self._last is None:
            self._session.stop()
            self._enter(StreamState.FAILED)
            advice = "has no picture in it: give another file" if fault is END else fault.advice
            raise SourceError(f"{self._uri}: {advice}", reason=fault.reason)
        self.warning = self._shortfall(fault, self._last.place.pts_ns / 1e9)
        self._enter(StreamState.ENDED)

    def _shortfall(self, fault: Fault, reached_s: float) -> str | None:
        whole_s = self.duration_s
        if whole_s is not None and reached_s < whole_s - SHORT_BY_S:
            return f"{self._uri}: ends at {reached_s:.1f} s of {whole_s:.1f} s: it was cut off"
        return None if fault is END else f"{self._uri}: stops at {reached_s:.1f} s: it {fault.advice}"

    def _frame(self, sample: Any) -> Frame:
        decoded = self._reader.read(sample, self._clock())
        self._note(decoded)
        return decoded.borrow(self.name, lambda: self._show(decoded))

    def _note(self, decoded: DecodedFrame) -> None:
        if self._last is None:
            self.duration_s = self._session.duration_s
            self._decoder = self._session.decoder
            self._enter(StreamState.PLAYING)
        self._last = decoded
        self.size_wh = (decoded.info.width, decoded.info.height)
        if decoded.place.cut is not None:
            self._observer.reconnected(self.name, decoded.place.cut)
        self._observer.frame_arrived(self.name, decoded.arrived_ns)
        if decoded.is_damaged:
            self._observer.frame_damaged(self.name)
        rate = self._rate.add(decoded.place.pts_ns)
        if rate is not None:
            self._observer.source_fps(self.name, rate)

    def _show(self, decoded: DecodedFrame) -> None:
        if self._video is not None:
            self._video.push(decoded.sample, decoded.place.segment)

    def _decoded(self, seconds: float) -> None:
        self._observer.stage_took(self.name, "decode", seconds)

    def _enter(self, state: StreamState) -> None:
        if state is not self._state:
            self._state = state
            self._observer.stream_state(self.name, state)


def check_file(path: Path) -> None:
    """Raise SourceError for what cannot be a video, in clearer words than a decoder has."""
    shown = redacted_path(str(path))  # it may be an address that was mistyped
    try:
        status = path.stat()
    except FileNotFoundError:
        raise SourceError(f"no file at {shown}: check the path", reason="not_found") from None
    except OSError as error:
        raise SourceError(f"{shown} cannot be read ({error.strerror}): check its permissions") from None
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"{shown} is a folder: give the video files in it")
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{shown} is not a file: give a video file, or webcam for a camera")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{shown} may not be read by this user: check its permissions")
    if status.st_size == 0:
        raise SourceError(f"{shown} is empty (0 bytes): record or copy it again")
