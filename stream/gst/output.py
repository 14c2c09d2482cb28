"""One stream's drawn video: overlay first, then window, file and RTSP, each on its own.

::

    push ─► drawing: appsrc ! convert/scale to the first size ! unmaskoverlay ! appsink
              ├─► window:   appsrc ! sink
              ├─► viewers, while there are any (live_view.py)
              └─► encoding: appsrc ! encoder ! appsink        (once for both; for clients alone: while one plays)
                    ├─► file: appsrc ! mp4mux ! filesink
                    └─► RTSP clients

Live video is drawn and encoded while it reaches a window, a file, a viewer or a client, and not otherwise.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

from stream.errors import OutputError  # noqa: E402
from stream.gst.branch import Branch, BranchHooks, parsed  # noqa: E402
from stream.gst.live_view import StreamViewers  # noqa: E402
from stream.gst.overlay_element import OverlayBinding, UnmaskOverlay  # noqa: E402
from stream.gst.recording import (  # noqa: E402
    RAW_QUEUE,
    Encoding,
    OnError,
    encode_branch,
    file_branch,
    find_encoder,
    find_window_sink,
    free_dated,
    make_writable,
    window_branch,
)
from stream.gst.retimer import Retimer  # noqa: E402
from stream.gst.rtsp_restream import EVERYBODY, RestreamGuard, RtspRestream  # noqa: E402
from stream.overlay import OverlayStyle  # noqa: E402
from stream.ports import Observer, SceneSource  # noqa: E402
from stream.types import StreamName  # noqa: E402

COPIED = Gst.BufferCopyFlags.FLAGS | Gst.BufferCopyFlags.META | Gst.BufferCopyFlags.MEMORY
"""All of a buffer but its times; the pixels stay shared."""
DRAWING = "appsrc name=in ! videoconvert ! videoscale add-borders=true ! capsfilter name=size  appsink name=out"


@dataclass(frozen=True)
class Restream:
    """Where the drawn video is served over RTSP."""

    host: str = "127.0.0.1"
    port: int = 8554
    path: str = ""
    """Begins with ``/``; empty: the stream's name."""
    guard: RestreamGuard = EVERYBODY


@dataclass(frozen=True)
class OutputTargets:
    """Where one stream's drawn video goes."""

    display: bool = False
    save: Path | None = None
    restream: Restream | None = None
    viewers: StreamViewers | None = None
    """Who may come and watch; nothing is drawn for this target alone before somebody does."""

    @property
    def is_empty(self) -> bool:
        return not (self.display or self.save or self.restream or self.viewers)


class VideoOutput:
    """A VideoTap: frames go in with ``push``, drawn video comes out of every target.

    Live sources never wait: a frame that finds no room is dropped and counted. Files wait for the slowest target.
    A target that fails is reported once and left out; the others go on.
    """

    def __init__(
        self,
        name: StreamName,
        targets: OutputTargets,
        scenes: SceneSource | None,
        *,
        is_live: bool,
        observer: Observer,
        on_error: OnError,
        style: OverlayStyle | None = None,
    ) -> None:
        """``scenes``: None draws nothing, for a picture that is drawn already.

        ``on_error``: called on GStreamer's threads. Raises OutputError when a target cannot be opened.
        """
        self._name, self._is_live, self._observer, self._on_error = name, is_live, observer, on_error
        self._retimer, self._times = Retimer(), _Times()
        self._lock, self._abort = threading.Lock(), threading.Event()
        self._caps, self._wanted = _FixedRate(), targets
        binding = OverlayBinding(name, scenes, observer, style or OverlayStyle(), is_live)
        self._drawing = self._drawing_branch(binding if scenes is not None else None)
        with ExitStack() as undo:
            self._targets = tuple(self._opened(targets, undo))
            self._undo = undo.pop_all()

    @property
    def url(self) -> str | None:
        """Where the drawn video is served, if it is."""
        encoding = self._encoding
        return encoding.restream.url if encoding is not None and encoding.restream is not None else None

    @property
    def encoder(self) -> str | None:
        """GStreamer's name of the encoder that runs here, such as ``x264enc``; None when nothing is encoded."""
        encoding = self._encoding
        return None if encoding is None or encoding.has_failed else encoding.encoder

    def push(self, sample: Any, segment: int) -> None:
        """One decoded frame (Gst.Sample of I420 or NV12). From one thread at a time; live: returns at once."""
        if self._is_idle:
            return
        buffer, caps = sample.get_buffer(), self._caps.fixed(sample.get_caps())
        pts_ns = None if buffer.pts == Gst.CLOCK_TIME_NONE else buffer.pts
        with self._lock:
            self._times.expect(buffer.pts, self._retimer.next(pts_ns, segment))
        if not self._drawing.push(buffer, caps):
            self._times.forget_newest()
            self._observer.frame_dropped(self._name, "video", "error" if self._drawing.has_failed else "newer_frame")

    def close(self) -> None:
        """Finish everything that was pushed: files are complete when this returns. Calling it again does nothing.

        Returns in bounded time: a target that hangs is left behind with what it has not taken.
        """
        self._drawing.finish()
        self._undo.close()

    @property
    def _is_idle(self) -> bool:
        """Whether a frame that came now would be drawn for nobody."""
        wanted, encoding = self._wanted, self._encoding
        if wanted.is_empty or wanted.display or (encoding is not None and encoding.is_wanted):
            return False
        return wanted.viewers is None or not wanted.viewers.want_a_frame

    @property
    def _encoding(self) -> _Encoding | None:
        return next((target for target in self._targets if isinstance(target, _Encoding)), None)

    def _opened(self, targets: OutputTargets, undo: ExitStack) -> Iterator[_Window | _Encoding | StreamViewers]:
        if targets.display:
            window = _Window(window_branch(find_window_sink(), self._on_error, self._abort, is_live=self._is_live))
            undo.callback(window.close)
            yield window
        if targets.save is not None or targets.restream is not None:
            encoding = _Encoding(self._name, targets, self._on_error, self._abort, is_live=self._is_live)
            undo.callback(encoding.close)
            yield encoding
        if targets.viewers is not None:  # they outlive this output: a stream that is opened again keeps them
            yield targets.viewers

    def _drawing_branch(self, binding: OverlayBinding | None) -> Branch:
        pipeline = parsed(DRAWING)
        out = pipeline.get_by_name("out")
        out.set_property("sync", False)
        out.set_property("max-buffers", RAW_QUEUE)
        if not _linked(pipeline, binding, out):
            raise OutputError("cannot link the overlay; `unmask doctor` says what is wrong")
        hooks = BranchHooks(self._on_error, self._drawing_error, self._hand_out, _keep_size)
        return Branch(pipeline, hooks, not self._is_live, RAW_QUEUE, self._abort)

    def _drawing_error(self, error: Any, _debug: str | None) -> OutputError:
        return OutputError(f"drawing on {self._name} has stopped: {error.message}")

    def _hand_out(self, buffer: Any, caps: Any) -> None:
        """A drawn frame to every target, on the drawing's thread."""
        drawn = buffer.copy_region(COPIED, 0, buffer.get_size())
        drawn.pts, drawn.dts = self._times.of(buffer.pts), Gst.CLOCK_TIME_NONE
        for target in self._targets:
            if not target.push(drawn, caps) and not target.has_failed:
                self._observer.frame_dropped(self._name, "video", "newer_frame")


def _linked(pipeline: Any, binding: OverlayBinding | None, out: Any) -> bool:
    """Whether the way to ``out`` is whole, by an overlay where there is something to draw."""
    size = pipeline.get_by_name("size")
    if binding is None:
        return bool(size.link(out))
    overlay = UnmaskOverlay()
    overlay.bind(binding)
    pipeline.add(overlay)
    return bool(size.link(overlay) and overlay.link(out))


def _keep_size(pipeline: Any, caps: Any) -> None:
    """Whatever comes later is fitted into the first frame's caps: files and clients cannot change size."""
    pipeline.get_by_name("size").set_property("caps", caps)


class _Window:
    """A window on this machine's display."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch

    @property
    def has_failed(self) -> bool:
        return self._branch.has_failed

    def push(self, buffer: Any, caps: Any) -> bool:
        return self._branch.push(buffer, caps)

    def close(self) -> None:
        self._branch.finish()


class _Encoding:
    """Encodes once, for the file and for RTSP clients. Live video for clients alone is encoded while one plays."""

    def __init__(
        self, name: StreamName, targets: OutputTargets, on_error: OnError, abort: threading.Event, *, is_live: bool
    ) -> None:
        is_served = targets.restream is not None
        self._how = Encoding(
            find_encoder(),
            "live" if is_live or is_served else "file",
            waits=not is_live,
            paced=is_served and not is_live,
        )
        self._on_error, self._abort = on_error, abort
        self._branch: Branch | None = None
        self._file: Branch | None = None
        self._rests = False
        """Frames are left out: the next one that is encoded must be a key frame."""
        self.restream: RtspRestream | None = None
        if targets.save is not None:
            file = free_dated(targets.save, datetime.now(timezone.utc))
            make_writable(file)
            self._file = file_branch(file, on_error, abort)
        if targets.restream is not None:
            where = targets.restream
            path = where.path or f"/{name}"
            self.restream = RtspRestream(where.host, where.port, path, guard=where.guard, on_client=self._want_key)

    @property
    def has_failed(self) -> bool:
        return self._branch is not None and self._branch.has_failed

    @property
    def encoder(self) -> str:
        return self._how.encoder.element

    def push(self, buffer: Any, caps: Any) -> bool:
        """Encoding begins with the first frame that somebody wants: its size decides the bit rate."""
        if not self.is_wanted:
            self._rests = True
            return True
        if self._branch is None:
            self._branch = encode_branch(self._how, caps, self._hand_out, self._on_error, self._abort)
        elif self._rests:
            self._want_key()
        self._rests = False
        return self._branch.push(buffer, caps)

    @property
    def is_wanted(self) -> bool:
        """Whether a frame that came now would reach a file or a client. What is not live is paced by its encoding."""
        return self._file is not None or self._how.waits or (self.restream is not None and self.restream.is_watched)

    def close(self) -> None:
        for branch in (self._branch, self._file):
            if branch is not None:
                branch.finish()
        if self.restream is not None:
            self.restream.close()

    def _hand_out(self, buffer: Any, caps: Any) -> None:
        if self.restream is not None:
            self.restream.push(buffer, caps)
        if self._file is not None:
            self._file.push(buffer, caps)

    def _want_key(self) -> None:
        event = GstVideo.video_event_new_upstream_force_key_unit(Gst.CLOCK_TIME_NONE, True, 0)
        if self._branch is not None:
            self._branch.send_upstream(event)


class _Times:
    """Output times of the frames that are being drawn, by their input times. Written and read by two threads."""

    def __init__(self) -> None:
        self._expected: deque[tuple[int, int]] = deque()

    def expect(self, pts_in_ns: int, pts_out_ns: int) -> None:
        self._expected.append((pts_in_ns, pts_out_ns))

    def forget_newest(self) -> None:
        self._expected.pop()

    def of(self, pts_in_ns: int) -> int:
        """Frames come out in the order they went in; one that the pipeline lost is passed over."""
        while True:
            expected_ns, out_ns = self._expected.popleft()
            if expected_ns == pts_in_ns or not self._expected:
                return out_ns


class _FixedRate:
    """Caps with the first frame's rate: a camera that changes its rate must not upset encoders; times say it all."""

    def __init__(self) -> None:
        self._seen: Any = None
        self._fixed: Any = None
        self._rate: str | None = None

    def fixed(self, caps: Any) -> Any:
        if self._seen is None or not self._seen.is_equal(caps):
            self._seen, self._fixed = caps, self._with_first_rate(caps)
        return self._fixed

    def _with_first_rate(self, caps: Any) -> Any:
        structure = caps.get_structure(0)
        found, numerator, denominator = structure.get_fraction("framerate")
        if self._rate is None:
            self._rate = f"{numerator}/{denominator}" if found else "0/1"
        kept = caps.copy()
        kept.set_value("framerate", Gst.Fraction(*map(int, self._rate.split("/"))))
        return kept
