"""Many pretend RTSP cameras in one process, for benchmarks: one encoded clip, kept in memory, sent to every mount.

Nothing is decoded or encoded for a client; each mount plays the clip from its start when its viewer comes, again and
again. From the command line: ``python -m stream.gst.camera_fleet clip.mp4 8`` prints the eight addresses on one line.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstApp, GstRtspServer  # noqa: E402, F401 - GstApp: appsink.try_pull_sample

from stream.errors import OutputError, SourceError, UnmaskError  # noqa: E402
from stream.gst.mainloop import LoopThread  # noqa: E402
from stream.gst.rtsp_clients import shut, tune  # noqa: E402

Gst.init(None)

READ = (
    "filesrc name=source ! parsebin ! h264parse config-interval=-1 "
    "! video/x-h264,stream-format=(string)byte-stream,alignment=(string)au ! appsink name=out sync=false"
)
FEED = (
    "( appsrc name=feed is-live=true format=time block=false max-bytes=0 "
    "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)
READ_WITHIN_S = 10
COPIED = Gst.BufferCopyFlags.MEMORY | Gst.BufferCopyFlags.FLAGS


class EncodedClip:
    """A clip's H.264 pictures in order, without their container. ``period_ns`` is the time from one to the next."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError for a file that is not H.264 with at least two pictures."""
        self.caps, self.pictures = _read(path)
        if len(self.pictures) < 2:
            raise SourceError(f"{path} is no H.264 video that can be served: give another clip")
        times = sorted(buffer.pts for buffer in self.pictures)
        self.period_ns = round((times[-1] - times[0]) / (len(times) - 1))


def _read(path: Path) -> tuple[Any, list[Any]]:
    if not path.is_file():
        raise SourceError(f"no file at {path}: check the path", reason="not_found")
    pipeline = Gst.parse_launch(READ)
    pipeline.get_by_name("source").set_property("location", str(path))
    out = pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    caps, pictures = None, []
    try:
        while (sample := out.try_pull_sample(READ_WITHIN_S * Gst.SECOND)) is not None:
            caps = sample.get_caps()
            pictures.append(sample.get_buffer())
    finally:
        pipeline.set_state(Gst.State.NULL)
    return caps, pictures


class CameraFleet:
    """``count`` mounts on one RTSP server of this machine, from construction until ``close``."""

    def __init__(self, clip: EncodedClip, count: int) -> None:
        self._clip = clip
        self._paths = [f"/camera{number}" for number in range(1, count + 1)]
        self._stop = threading.Event()
        self._loop = LoopThread("camera-fleet")
        self._server = GstRtspServer.RTSPServer()
        self._server.connect("client-connected", tune)
        self._server.set_address("127.0.0.1")
        self._server.set_service("0")
        for path in self._paths:
            self._server.get_mount_points().add_factory(path, self._factory())
        self._source_id = int(self._server.attach(self._loop.context))
        if not self._source_id:
            self._loop.stop()
            raise OutputError("no port is free for the benchmark's cameras: close other programs")

    @property
    def urls(self) -> tuple[str, ...]:
        port = self._server.get_bound_port()
        return tuple(f"rtsp://127.0.0.1:{port}{path}" for path in self._paths)

    def close(self) -> None:
        self._stop.set()
        shut(self._server, self._loop, self._source_id)

    def _factory(self) -> Any:
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_shared(True)
        factory.set_latency(0)
        factory.set_launch(FEED)
        factory.connect("media-configure", self._on_media)
        return factory

    def _on_media(self, _factory: Any, media: Any) -> None:
        feed, gone = media.get_element().get_by_name("feed"), threading.Event()
        media.connect("unprepared", lambda _media: gone.set())
        threading.Thread(target=self._play, args=(feed, gone), name="camera", daemon=True).start()

    def _play(self, feed: Any, gone: threading.Event) -> None:
        """Push picture after picture when it is due; a late one is not waited for."""
        feed.set_property("caps", self._clip.caps)
        began_ns, pictures, period_ns = time.monotonic_ns(), self._clip.pictures, self._clip.period_ns
        sent = 0
        while not (gone.is_set() or self._stop.is_set()):
            due_ns = sent * period_ns
            wait_s = (began_ns + due_ns - time.monotonic_ns()) / 1e9
            if wait_s > 0 and gone.wait(wait_s):
                return
            feed.emit("push-buffer", _stamped(pictures[sent % len(pictures)], due_ns, period_ns))
            sent += 1


def _stamped(picture: Any, pts_ns: int, period_ns: int) -> Any:
    """The same memory with another time. The clips have no B-frames: both times are one."""
    buffer = picture.copy_region(COPIED, 0, picture.get_size())
    buffer.pts = buffer.dts = pts_ns
    buffer.duration = period_ns
    return buffer


def main(arguments: Sequence[str] | None = None) -> int:
    """CLIP COUNT: serve until interrupted. The first line on standard output is the addresses."""
    clip, count = (sys.argv[1:] if arguments is None else list(arguments))[:2]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        fleet = CameraFleet(EncodedClip(Path(clip)), int(count))
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(*fleet.urls, flush=True)
    stop.wait()
    fleet.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
