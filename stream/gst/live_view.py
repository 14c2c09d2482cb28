"""Every stream's drawn video for those who look at the page: made while somebody watches, and not otherwise.

::

    drawing ─► viewers ─┬─► jpegenc, once ─► any number of MJPEG viewers
                        └─► H.264, once ─┬─► webrtcbin of one viewer
                                         └─► …
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

from stream.errors import OutputError
from stream.gst.jpegs import FPS_RANGE, JpegFeed
from stream.gst.webrtc import ADVICE, MOST_PEERS, PeerFeed, has_webrtc
from stream.types import StreamName


def answering_address(host: str) -> str | None:
    """Where WebRTC answers from when the page listens on ``host``: nowhere that the page does not; None: everywhere."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name: this machine's addresses are all its own
        return None
    return None if address.is_unspecified else host


class StreamViewers:
    """One stream's viewers: a target of its output that costs nothing while there are none."""

    has_failed = False
    """What fails for a viewer is told to the viewer; the output goes on."""

    def __init__(self, name: StreamName, local_address: str | None) -> None:
        self.jpegs = JpegFeed(name)
        self.peers = PeerFeed(name, local_address)

    @property
    def want_a_frame(self) -> bool:
        """Whether one that came now would reach anybody."""
        return self.peers.is_watched or self.jpegs.is_due

    def push(self, buffer: Any, caps: Any) -> bool:
        """One drawn frame. Returns at once, and always True: what a viewer misses is no drop of the stream's."""
        self.jpegs.push(buffer, caps)
        self.peers.push(buffer, caps)
        return True

    def close(self) -> None:
        self.jpegs.close()
        self.peers.close()


class LiveView:
    """The viewers of all streams of a run. Safe from any thread; what it promises is ``LiveVideo`` in the web room."""

    def __init__(self, local_address: str | None = None, most_peers: int = MOST_PEERS) -> None:
        """``local_address``: the only one of this machine that WebRTC answers from; None: all of them.

        ``most_peers``: WebRTC viewers of all streams together, each of which takes threads and descriptors.
        """
        self._local_address, self._most_peers = local_address, most_peers
        self._lock = threading.Lock()
        self._streams: dict[StreamName, StreamViewers] = {}

    def of(self, stream: StreamName) -> StreamViewers:
        """Those of a stream, which its output feeds; they stay when the stream is opened again."""
        with self._lock:
            return self._streams.setdefault(stream, StreamViewers(stream, self._local_address))

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

    @cached_property
    def has_webrtc(self) -> bool:
        """Whether this machine has GStreamer's WebRTC."""
        return has_webrtc()

    @property
    def peers(self) -> int:
        """WebRTC viewers of all streams."""
        return sum(viewers.peers.peers for viewers in tuple(self._streams.values()))

    def answer(
        self, stream: StreamName, offer_sdp: str, timeout_s: float, may_watch: Callable[[], bool] = lambda: True
    ) -> str:
        """SDP answer, with its candidates; the viewer's pipeline goes when its browser does, or may watch no more.

        Raises KeyError when there is no such stream, and OutputError when no answer can be made.
        """
        viewers = self._streams[stream]
        if not self.has_webrtc:
            raise OutputError(ADVICE)
        if self.peers >= self._most_peers:
            raise OutputError(f"{self._most_peers} viewers watch by WebRTC already: watch by MJPEG")
        return viewers.peers.answer(offer_sdp, timeout_s, may_watch)

    def close(self) -> None:
        """Every viewer sees the end."""
        for stream in tuple(self._streams):
            self.forget(stream)
