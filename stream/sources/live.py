"""A source that does not wait: the newest frame wins, and a lost camera is opened again for ever."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stream.errors import UnmaskError
from stream.gst.faults import Fault
from stream.gst.session import VideoTap
from stream.ports import Clock, Observer
from stream.sources.decoded import DecodedFrame, FrameReader, Session
from stream.sources.timeline import LONGEST_LIVE_GAP_NS, FrameRate, Timeline
from stream.sources.uri import SourceUri
from stream.types import Frame, StreamName, StreamState

log = logging.getLogger(__name__)

OpenSession = Callable[[Callable[[Any], None], Callable[[float], None]], Session]
"""Builds a session from (on_sample, on_decoded); raises MissingPartError."""

POLL_S = 0.05
"""How often the supervisor asks the bus and looks at the time of the last frame."""
CLOSE_TIMEOUT_S = 10.0
SLOW_REASONS = ("unauthorized", "not_found", "untrusted")
"""Trying these again soon helps nobody and may lock the account."""
STALLED = Fault("stalled", "sends no more pictures: check the camera and the network")
SILENT = Fault("timeout", "sends no picture: check the camera")
BUG = Fault("error", "met a fault of this program: its trace is in the log; please report it")


@dataclass(frozen=True)
class RetryPolicy:
    """When a live source counts as lost, and how it is opened again: for ever, with waits that double."""

    first_s: float = 0.5
    longest_s: float = 30.0
    stalled_after_s: float = 5.0
    """Silence after which a playing source counts as lost."""
    first_frame_within_s: float = 15.0
    """Patience with a source that was just opened: cameras send no picture before their next key frame."""
    jitter: float = 0.3
    """Largest part of a wait that chance takes away, so that many streams don't come back in step."""

    def wait_s(self, failures: int, reason: str, chance: float) -> float:
        """Before the next attempt. ``failures``: in a row, from 1. ``chance``: 0-1."""
        doubled_s = self.first_s * 2.0 ** min(failures - 1, 30)
        wait_s = self.longest_s if reason in SLOW_REASONS else min(doubled_s, self.longest_s)
        return wait_s * (1 - self.jitter * chance)


DEFAULT_RETRY = RetryPolicy()


class LiveSource:
    """Frames of a camera, a screen or a stream. ``read`` belongs to one thread, the session to a supervisor thread."""

    is_live = True

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
        retry: RetryPolicy = DEFAULT_RETRY,
    ) -> None:
        self.name = name
        self._uri, self._open_session, self._observer = uri, open_session, observer
        self._clock, self._video, self._on_frame, self._retry = clock, video, on_frame, retry
        self._reader = FrameReader(Timeline(rebased=True, longest_gap_ns=LONGEST_LIVE_GAP_NS))
        self._rate = FrameRate()
        self._newest: DecodedFrame | None = None
        self._arrived = threading.Condition()
        self._last_frame_ns: int | None = None
        self._stop = threading.Event()
        self._state = StreamState.CONNECTING
        self._failure: BaseException | None = None
        self._session: Session | None = None
        """The one that is open."""
        self._decoder: str | None = None
        self._opened_ns = 0
        """When the newest session was."""
        self._bug = ""
        """The newest that was met and not played through since: its trace is logged once."""
        self.last_error: str | None = None
        """Why the source is not playing, in one line without credentials; None while it plays."""
        self._observer.stream_state(name, self._state)
        self._thread = threading.Thread(target=self._run, name=f"source-{name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> StreamState:
        return self._state

    @property
    def decoder(self) -> str | None:
        """The decoder that really runs, by its GStreamer name; None before the first frame."""
        return self._decoder

    def read(self, timeout_s: float) -> Frame | None:
        """The newest frame that was not read yet. Raises what stopped the supervisor, if anything did."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest is not None or self._is_over, timeout_s)
            decoded, self._newest = self._newest, None
        if self._failure is not None:
            raise self._failure
        return None if decoded is None else decoded.borrow(self.name)

    def close(self) -> None:
        """Stop for good; at most some seconds, whatever the camera does."""
        is_first = not self._stop.is_set()
        self._stop.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive() and is_first:
            log.error("%s does not let go within %.0f s: its thread is left behind", self._uri, CLOSE_TIMEOUT_S)
        self._enter(StreamState.ENDED)
        with self._arrived:
            self._newest = None
            self._arrived.notify_all()

    @property
    def _is_over(self) -> bool:
        return self._stop.is_set() or self._failure is not None

    def _run(self) -> None:
        try:
            self._keep_alive()
        except Exception as error:  # top of the thread: raised again by read()
            self._failure = error
            self._enter(StreamState.FAILED)
            with self._arrived:
                self._arrived.notify_all()

    def _keep_alive(self) -> None:
        failures = 0
        while not self._stop.is_set():
            fault = self._play_guarded()
            if fault is None or self._stop.is_set():
                return
            failures = 1 if self._has_played(fault) else failures + 1
            wait_s = self._retry.wait_s(failures, fault.reason, random.random())  # nosec B311 # spreads retries
            self._lose(fault, wait_s)
            self._stop.wait(wait_s)

    def _has_played(self, fault: Fault) -> bool:
        """A bug may come with each frame: what it ended counts when it was longer than the longest wait."""
        if fault is not BUG:
            return self._last_frame_ns is not None
        return self._last_frame_ns is not None and self._clock() - self._opened_ns > self._retry.longest_s * 1e9

    def _play_guarded(self) -> Fault | None:
        """A bug costs this stream alone, which is tried again. Raises UnmaskError where waiting mends nothing."""
        try:
            fault = self._play()
        except UnmaskError:
            raise
        except Exception as error:  # a bug: logged with its trace, and no other stream's affair
            if repr(error) != self._bug or self._has_played(BUG):
                self._bug = repr(error)
                log.exception("%s met a fault of this program", self._uri)
            return BUG
        else:
            self._bug = "" if self._last_frame_ns is not None else self._bug
            return fault

    def _play(self) -> Fault | None:
        """One session from its start to its loss; None when ``close`` ended it."""
        self._last_frame_ns = None
        self._reader.timeline.restart()
        self._opened_ns = self._clock()
        session = self._session = self._open_session(self._take, self._decoded)
        try:
            session.start()
            while not self._stop.wait(POLL_S):
                self._note_decoder()
                fault = session.fault() or self._silence()
                if fault is not None:
                    return fault
            return None
        finally:
            self._session = None
            session.stop()

    def _note_decoder(self) -> None:
        """Before its first frame a session has not chosen one; another codec may bring another one later."""
        session = self._session
        if session is not None and self._last_frame_ns is not None:
            self._decoder = session.decoder

    def _silence(self) -> Fault | None:
        """The watchdog: a frozen camera sends neither frames nor an error."""
        last_ns, now_ns = self._last_frame_ns, self._clock()
        if last_ns is None:
            return SILENT if now_ns - self._opened_ns > self._retry.first_frame_within_s * 1e9 else None
        return STALLED if now_ns - last_ns > self._retry.stalled_after_s * 1e9 else None

    def _lose(self, fault: Fault, wait_s: float) -> None:
        error = f"{self._uri}: {fault.advice}"
        if error != self.last_error:
            log.warning("%s; trying again in %.1f s, for as long as it takes", error, wait_s)
        self.last_error = error
        self._enter(StreamState.RECONNECTING)
        self._observer.source_fps(self.name, 0.0)
        self._observer.reconnected(self.name, fault.reason)

    def _take(self, sample: Any) -> None:
        """Every decoded frame, on GStreamer's thread: shown, counted, and kept if no newer one comes."""
        decoded = self._reader.read(sample, self._clock())
        self._last_frame_ns = decoded.arrived_ns
        self._count(decoded)
        if self._video is not None:
            self._video.push(sample, decoded.place.segment)
        with self._arrived:
            replaced, self._newest = self._newest, decoded
            self._arrived.notify()
        if replaced is not None:
            self._observer.frame_dropped(self.name, "analysis", "newer_frame")
        if self._on_frame is not None:
            self._on_frame()

    def _count(self, decoded: DecodedFrame) -> None:
        if self._state is not StreamState.PLAYING and not self._stop.is_set():
            self.last_error = None
            self._note_decoder()
            log.info("%s plays: %dx%d", self._uri, decoded.info.width, decoded.info.height)
            self._enter(StreamState.PLAYING)
        if decoded.place.cut is not None:
            self._observer.reconnected(self.name, decoded.place.cut)
        self._observer.frame_arrived(self.name, decoded.arrived_ns)
        if decoded.is_damaged:
            self._observer.frame_damaged(self.name)
        rate = self._rate.add(decoded.arrived_ns)
        if rate is not None:
            self._observer.source_fps(self.name, rate)

    def _decoded(self, seconds: float) -> None:
        self._observer.stage_took(self.name, "decode", seconds)

    def _enter(self, state: StreamState) -> None:
        if state is not self._state:
            self._state = state
            self._observer.stream_state(self.name, state)
