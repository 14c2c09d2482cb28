"""A pretend RTSP camera on this machine, for the demo, for tests and for trying things without a camera.

It sends a clip (at real time, from its start when the first viewer comes) or a test pattern::

    with RtspCamera(Path("clip.mp4")) as camera:
        print(camera.url)

From the command line: ``python -m stream.gst.camera clip.mp4 --port 8555``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstPbutils", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstPbutils, GstRtsp, GstRtspServer  # noqa: E402

from stream.errors import OutputError, SourceError, UnmaskError, UsageError  # noqa: E402
from stream.gst.codecs import pick_encoder  # noqa: E402
from stream.gst.mainloop import LoopThread  # noqa: E402
from stream.gst.rtsp_clients import shut, tune  # noqa: E402
from stream.gst.session import element_runs  # noqa: E402

Gst.init(None)

VIEWER = "viewer"
DISCOVER_WITHIN_S = 15
PULL_S = 0.1
PAY = "rtph264pay name=pay0 pt=96 config-interval=-1"
FEED = f"( appsrc name=feed is-live=true format=time block=false max-bytes=0 ! h264parse ! {PAY} )"
WHOLE_PICTURES = "h264parse config-interval=-1 ! video/x-h264,stream-format=(string)byte-stream,alignment=(string)au"
PACED = "appsink name=out sync=true max-buffers=2"


@dataclass(frozen=True)
class CameraOptions:
    """How the camera behaves."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    path: str = "/camera"
    user: str | None = None
    """With ``password``: viewers must log in (digest)."""
    password: str | None = None
    loops: bool = True
    """At its end the clip starts again; otherwise the viewers are told that the stream is over."""
    pattern_wh: tuple[int, int] = (640, 360)
    """Of the test pattern."""


class RtspCamera:
    """Serves from construction until ``close``; used as a context manager."""

    def __init__(self, clip: Path | None, options: CameraOptions = CameraOptions()) -> None:
        """``clip``: None sends a test pattern. Raises SourceError for a bad clip, OutputError for a taken port."""
        self._options = options
        self._clip_launch = None if clip is None else _clip_launch(clip)
        self._players: list[_ClipPlayer] = []
        self._clip = clip
        self._loop = LoopThread("rtsp-camera")
        self._server = GstRtspServer.RTSPServer()
        self._server.connect("client-connected", tune)
        self._source_id = self._listen()

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"rtsp://{self._options.host}:{self._server.get_bound_port()}{self._options.path}"

    def close(self) -> None:
        """Hang up on all viewers and free the port."""
        shut(self._server, self._loop, self._source_id)
        for player in tuple(self._players):
            player.stop()

    def __enter__(self) -> RtspCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> int:
        options = self._options
        self._server.set_address(options.host)
        self._server.set_service(str(options.port))
        factory = self._factory()
        if options.user is not None and options.password is not None:
            self._server.set_auth(_login(options.user, options.password))
            factory.set_permissions(_permissions())
        self._server.get_mount_points().add_factory(options.path, factory)
        source_id = int(self._server.attach(self._loop.context))
        if not source_id:
            self._loop.stop()
            raise OutputError(f"cannot serve RTSP on {options.host}:{options.port}: the port is taken; choose another")
        return source_id

    def _factory(self) -> Any:
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_shared(True)
        factory.set_latency(0)
        factory.set_launch(_pattern_launch(self._options.pattern_wh) if self._clip_launch is None else FEED)
        if self._clip_launch is not None:
            factory.connect("media-configure", self._on_media)
        return factory

    def _on_media(self, _factory: Any, media: Any) -> None:
        """A first viewer came: play the clip from its start, until the last one has gone."""
        feed = media.get_element().get_by_name("feed")
        player = _ClipPlayer(str(self._clip_launch), str(self._clip), feed, loops=self._options.loops)
        self._players.append(player)
        media.connect("unprepared", lambda _media: self._forget(player))

    def _forget(self, player: _ClipPlayer) -> None:
        player.stop()
        if player in self._players:
            self._players.remove(player)


class _ClipPlayer:
    """Hands a clip's encoded pictures to one media at the pace they were taken; a thread of its own."""

    def __init__(self, launch: str, location: str, feed: Any, *, loops: bool) -> None:
        self._launch, self._location, self._feed, self._loops = launch, location, feed, loops
        self._stop = threading.Event()
        self._began_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name="rtsp-camera-clip", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(5.0)

    def _run(self) -> None:
        plays = True
        while plays and not self._stop.is_set():
            self._play_once()
            plays = self._loops
        self._feed.emit("end-of-stream")

    def _play_once(self) -> None:
        offset_ns = time.monotonic_ns() - self._began_ns
        pipeline = Gst.parse_launch(self._launch)
        pipeline.get_by_name("source").set_property("location", self._location)
        out = pipeline.get_by_name("out")
        pipeline.set_state(Gst.State.PLAYING)
        try:
            while not self._stop.is_set() and not out.is_eos() and not _has_failed(pipeline):
                sample = out.try_pull_sample(round(PULL_S * Gst.SECOND))
                if sample is not None:
                    self._push(sample, offset_ns)
        finally:
            pipeline.set_state(Gst.State.NULL)

    def _push(self, sample: Any, offset_ns: int) -> None:
        source, segment = sample.get_buffer(), sample.get_segment()
        buffer = source.copy_region(Gst.BufferCopyFlags.MEMORY | Gst.BufferCopyFlags.FLAGS, 0, source.get_size())
        buffer.pts = _shifted(segment, source.pts, offset_ns)
        buffer.dts = _shifted(segment, source.dts, offset_ns)
        if self._feed.get_property("caps") is None:
            self._feed.set_property("caps", sample.get_caps())
        self._feed.emit("push-buffer", buffer)


def _shifted(segment: Any, time_ns: int, offset_ns: int) -> int:
    """A time stamp of the clip on the camera's clock."""
    if time_ns == Gst.CLOCK_TIME_NONE:
        return int(time_ns)
    is_after, running_ns = segment.to_running_time_full(Gst.Format.TIME, time_ns)
    return int(max(0, offset_ns + (running_ns if is_after >= 0 else -running_ns)))


def _has_failed(pipeline: Any) -> bool:
    return pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR) is not None


def _clip_launch(clip: Path) -> str:
    """H.264 clips are sent as they are, others are encoded again."""
    if _is_h264(clip):
        return f"filesrc name=source ! parsebin ! {WHOLE_PICTURES} ! {PACED}"
    encoder = pick_encoder(element_runs).launch("live")
    return f"filesrc name=source ! decodebin ! videoconvert ! {encoder} ! {WHOLE_PICTURES} ! {PACED}"


def _is_h264(clip: Path) -> bool:
    """Raises SourceError when the file cannot be played."""
    if not clip.is_file():
        raise SourceError(f"no file at {clip}: check the path", reason="not_found")
    try:
        info = GstPbutils.Discoverer.new(DISCOVER_WITHIN_S * Gst.SECOND).discover_uri(clip.resolve().as_uri())
    except GLib.Error as error:
        raise SourceError(f"{clip} cannot be played ({error.message}): give another file") from error
    videos = info.get_video_streams()
    if not videos:
        raise SourceError(f"{clip} has no video in it: give a file with a picture")
    return bool(videos[0].get_caps().get_structure(0).get_name() == "video/x-h264")


def _pattern_launch(size_wh: tuple[int, int]) -> str:
    encoder = pick_encoder(element_runs).launch("live", kbps=1000, gop=15)
    raw = f"video/x-raw,format=(string)I420,width={size_wh[0]},height={size_wh[1]},framerate=(fraction)30/1"
    return f"( videotestsrc is-live=true pattern=ball ! {raw} ! {encoder} ! h264parse ! {PAY} )"


def _login(user: str, password: str) -> Any:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", VIEWER)
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    return auth


def _permissions() -> Any:
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role(VIEWER, right, True)
    return permissions


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted. The first line on standard output is the address."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with RtspCamera(None if options.clip == "test" else Path(options.clip), _camera_options(options)) as camera:
            print(camera.url, flush=True)
            stop.wait()
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stream.gst.camera", description="A pretend RTSP camera.")
    parser.add_argument("clip", help="a video file, or 'test' for a pattern")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--path", default="/camera")
    parser.add_argument("--user")
    parser.add_argument("--password-env", metavar="NAME", help="environment variable that holds the password")
    parser.add_argument("--once", action="store_true", help="end after the clip instead of starting again")
    return parser


def _camera_options(options: argparse.Namespace) -> CameraOptions:
    password = None if options.password_env is None else os.environ.get(options.password_env)
    if (options.user is None) != (password is None):
        raise UsageError("give --user and --password-env together, and export that variable")
    return CameraOptions(options.host, options.port, options.path, options.user, password, loops=not options.once)


if __name__ == "__main__":
    sys.exit(main())
