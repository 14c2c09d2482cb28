"""One stream's drawn video as JPEGs: one encoder for all who look, and none while nobody does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GstVideo  # noqa: E402

from stream.errors import OutputError  # noqa: E402
from stream.gst.branch import Branch, BranchHooks, parsed  # noqa: E402
from stream.gst.encoder_on_demand import EncoderOnDemand, feed, stop, stop_aside  # noqa: E402

LARGEST_WH = (1280, 720)
"""What viewers get of a larger picture: more than a page shows, and the most that H.264's level 3.1 holds."""
QUALITY = 80
FPS_RANGE = (0.1, 30.0)
NOTHING_S = 1.0
"""After this long without a picture a viewer is told that there is none."""
SLACK = 0.25
"""Of a picture's period: cameras are not punctual, and one that comes this much too early is not left out."""


class Pace:
    """Lets at most so many a second through, evenly. Pure: time is an argument."""

    def __init__(self) -> None:
        self._due_s = 0.0

    def is_due(self, now_s: float, fps: float) -> bool:
        return now_s >= self._due_s - SLACK / fps

    def take(self, now_s: float, fps: float) -> None:
        self._due_s = max(self._due_s, now_s - 1 / fps) + 1 / fps


def fitted(width: int, height: int, largest_wh: tuple[int, int] = LARGEST_WH) -> tuple[int, int]:
    """Even sides, as 4:2:0 encoders want them, of the same shape within ``largest_wh``; never larger than before."""
    share = min(1.0, largest_wh[0] / width, largest_wh[1] / height)
    return max(2, int(width * share) // 2 * 2), max(2, int(height * share) // 2 * 2)


def scale_launch(caps: Any) -> str:
    """Launch text that brings frames of ``caps`` to the size that viewers get."""
    info = GstVideo.VideoInfo.new_from_caps(caps)
    width, height = fitted(info.width, info.height)
    return f"videoconvert ! videoscale ! video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1"


class JpegFeed(EncoderOnDemand):
    """``push`` is called by the drawing's thread and returns at once; ``pictures`` by any number of others."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._changed = threading.Condition(self._lock)
        self._viewers: dict[object, float] = {}
        self._pace = Pace()
        self._newest: tuple[int, bytes] = (0, b"")

    @property
    def is_watched(self) -> bool:
        return bool(self._viewers)

    @property
    def is_due(self) -> bool:
        """Whether a frame that came now would be taken."""
        fps = max(tuple(self._viewers.values()), default=0.0)
        return bool(fps) and self._pace.is_due(time.monotonic(), fps)

    @contextmanager
    def pictures(self, fps: float) -> Iterator[Iterator[bytes | None]]:
        """JPEGs, each newer than the one before, at most ``fps`` a second; None when a second passes without.

        They end when the stream is watched no more.
        """
        viewer, fps = object(), min(max(fps, FPS_RANGE[0]), FPS_RANGE[1])
        with self._lock:
            self._viewers[viewer] = fps
            failed = self._taken_failed()
        stop_aside(failed)
        try:
            yield self._pictures(fps)
        finally:
            self._leave(viewer)

    def push(self, buffer: Any, caps: Any) -> None:
        """One drawn frame; left out when nobody looks or the encoder is busy."""
        with self._lock:
            if self._is_closed or not self.is_due:
                return
            self._pace.take(time.monotonic(), max(self._viewers.values()))
            branch, before = self._branch_for(caps)
        feed(branch, before, buffer, caps)

    def close(self) -> None:
        """Viewers see the end; frames that still come are left out."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            branch = self._taken()
        stop(branch)

    def _leave(self, viewer: object) -> None:
        with self._lock:
            del self._viewers[viewer]
            branch = None if self._viewers else self._taken()
        stop(branch)

    def _pictures(self, fps: float) -> Iterator[bytes | None]:
        pace, seen = Pace(), self._newest[0]
        while not self._is_closed:
            while not self._is_closed and not pace.is_due(time.monotonic(), fps):
                self._sleep(SLACK / fps)
            count, picture = self._next(seen)
            pace.take(time.monotonic(), fps)
            seen = count or seen
            if not self._is_closed:
                yield picture

    def _next(self, seen: int) -> tuple[int, bytes | None]:
        """The picture after the ``seen``-th, waited for; (0, None): none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest[0] != seen or self._is_closed, NOTHING_S)
            return self._newest if self._newest[0] != seen else (0, None)

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)

    def _opened(self, caps: Any) -> Branch:
        launch = f"appsrc name=in ! {scale_launch(caps)} ! jpegenc quality={QUALITY} ! appsink name=out sync=false"
        return Branch(parsed(launch), BranchHooks(self._tell, self._error, self._hand_out), False, 1)

    def _hand_out(self, buffer: Any, _caps: Any) -> None:
        jpeg = bytes(buffer.extract_dup(0, buffer.get_size()))
        with self._changed:
            self._newest = (self._newest[0] + 1, jpeg)
            self._changed.notify_all()

    def _error(self, error: Any, _debug: str | None) -> OutputError:
        return OutputError(f"pictures of {self._name} for viewers have stopped: {error.message}")
