"""Every stream's drawn video for those who look at the page: made while somebody watches, and not otherwise.

::

    drawing ─► viewers ─┬─► jpegenc, once ─► any number of MJPEG viewers
                        └─► H.264, once ─┬─► webrtcbin of one viewer
                                         └─► …
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from stream.errors import OutputError
from stream.gst.jpegs import FPS_RANGE, JpegFeed
from stream.types import StreamName


class StreamViewers:
    """One stream's viewers: a target of its output that costs nothing while there are none."""

    has_failed = False
    """What fails for a viewer is told to the viewer; the output goes on."""

    def __init__(self, name: StreamName) -> None:
        self.jpegs = JpegFeed(name)

    @property
    def want_a_frame(self) -> bool:
        """Whether one that came now would reach anybody."""
        return self.jpegs.is_due

    def push(self, buffer: Any, caps: Any) -> bool:
        """One drawn frame. Returns at once, and always True: what a viewer misses is no drop of the stream's."""
        self.jpegs.push(buffer, caps)
        return True

    def close(self) -> None:
        self.jpegs.close()


class LiveView:
    """The viewers of all streams of a run. Safe from any thread; what it promises is ``LiveVideo`` in the web room."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[StreamName, StreamViewers] = {}

    def of(self, stream: StreamName) -> StreamViewers:
        """Those of a stream, which its output feeds; they stay when the stream is opened again."""
        with self._lock:
            return self._streams.setdefault(stream, StreamViewers(stream))

    def forget(self, stream: StreamName) -> None:
        """The stream is watched no more: its viewers see the end."""
        with self._lock:
            viewers = self._streams.pop(stream, None)
        if viewers is not None:
            viewers.close()

    def snapshot(self, stream: StreamName, timeout_s: float) -> bytes | None:
        """JPEG of the next drawn frame; None: no such stream, or no frame in time."""
        deadline = time.monotonic() + timeout_s
        viewers = self._streams.get(stream)
        if viewers is None:
            return None
        with viewers.jpegs.pictures(FPS_RANGE[1]) as pictures:
            for picture in pictures:
                if picture is not None or time.monotonic() >= deadline:
                    return picture
        return None

    def jpegs(self, stream: StreamName, fps: float) -> AbstractContextManager[Iterator[bytes | None]]:
        """Newest drawn frames until it is left, at most ``fps`` a second; None when a second passes without.

        Raises KeyError when there is no such stream.
        """
        return self._streams[stream].jpegs.pictures(fps)

    @property
    def has_webrtc(self) -> bool:
        return False

    def answer(self, stream: StreamName, offer_sdp: str, timeout_s: float) -> str:
        raise OutputError("this machine has no WebRTC: watch by MJPEG")

    def close(self) -> None:
        """Every viewer sees the end."""
        for stream in tuple(self._streams):
            self.forget(stream)
