"""Launch lines as text. Pure: nothing is opened, and what a user typed never becomes part of a line.

Addresses and credentials travel beside the text, as properties of the element named ``source``. Every line ends in an
appsink named ``frames`` that hands out I420 or NV12 frames in system memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stream.errors import MissingPartError
from stream.gst.codecs import download_launch
from stream.sources.uri import SourceUri

Available = Callable[[str], bool]
"""Whether this machine has a GStreamer element of that name."""

FORMAT = "video/x-raw,format=(string){I420,NV12}"
LIVE_QUEUE = "queue max-size-buffers=2 max-size-bytes=0 max-size-time=0"
"""Lets decoding and Python overlap; never holds more than two frames, because its reader never waits."""
FILE_QUEUE = "queue max-size-buffers=3 max-size-bytes=0 max-size-time=0"
UPRIGHT = "videoflip video-direction=auto"
"""Turns phone clips by their orientation tag; costs nothing on the others."""

RTSP_TIMEOUT_US = 5_000_000
RTSP_LATENCY_MS = 200
"""How long a missing or late packet is waited for; a complete picture is handed on at once."""

WEBCAM_CAPS = (
    '"image/jpeg,width=(int)1280,height=(int)720,framerate=(fraction)30/1;'
    "video/x-raw,width=(int)1280,height=(int)720,framerate=(fraction)30/1;"
    'image/jpeg;video/x-raw"'
)
"""Most webcams reach 720p30 as JPEG only: raw frames of that size don't fit through USB 2."""
CSI_CAPS = "video/x-raw(memory:NVMM),format=(string)NV12,width=(int)1280,height=(int)720,framerate=(fraction)30/1"
TEST_CAPS = "video/x-raw,format=(string)I420,width=(int)1280,height=(int)720,framerate=(fraction)30/1"


@dataclass(frozen=True)
class Launch:
    """A pipeline's text and what must not stand in it."""

    text: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the element named ``source``."""
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    """Set as ``user-id`` and ``user-pw`` on whichever element fetches the source."""


def source_launch(uri: SourceUri, available: Available, environment: Mapping[str, str]) -> Launch:
    """How to read ``uri`` on this machine. Raises MissingPartError that names what to install.

    ``environment`` tells which kind of screen there is.
    """
    return _ROWS[uri.kind](uri, available, environment)


def _webcam(uri: SourceUri, available: Available, _: Mapping[str, str]) -> Launch:
    _need(available, "v4l2src", "gstreamer1.0-plugins-good")
    head = f"v4l2src name=source ! capsfilter caps={WEBCAM_CAPS} ! decodebin name=decode"
    return Launch(_live(head, available), {"device": uri.location})


def _rtsp(uri: SourceUri, available: Available, _: Mapping[str, str]) -> Launch:
    _need(available, "rtspsrc", "gstreamer1.0-plugins-good")
    _need(available, "h264parse", "gstreamer1.0-plugins-bad")
    head = (
        f"rtspsrc name=source protocols={uri.transport} latency={RTSP_LATENCY_MS} "
        f"timeout={RTSP_TIMEOUT_US} tcp-timeout={RTSP_TIMEOUT_US} "
        "! application/x-rtp,media=(string)video ! decodebin name=decode"
    )
    return Launch(_live(head, available), {"location": uri.location}, uri.user, uri.password)


def _http(uri: SourceUri, available: Available, _: Mapping[str, str]) -> Launch:
    _need(available, "souphttpsrc", "gstreamer1.0-plugins-good")
    head = "uridecodebin name=source"
    properties = {"uri": uri.location}
    # HLS comes in bursts of seconds: its frames are paced by their time stamps, a download waits for its reader
    text = _live(head, available, sync=True) if uri.is_live else _file_text(head, available)
    return Launch(text, properties, uri.user, uri.password)


def _file(uri: SourceUri, available: Available, _: Mapping[str, str]) -> Launch:
    return Launch(_file_text("filesrc name=source ! decodebin name=decode", available), {"location": uri.location})


def _screen(uri: SourceUri, available: Available, environment: Mapping[str, str]) -> Launch:
    if environment.get("WAYLAND_DISPLAY") or environment.get("XDG_SESSION_TYPE") == "wayland":
        _need(available, "pipewiresrc", "gstreamer1.0-pipewire", "or log in to an X11 session")
        properties = {} if uri.location == "0" else {"path": uri.location}
        return Launch(_live("pipewiresrc name=source do-timestamp=true", available), properties)
    _need(available, "ximagesrc", "gstreamer1.0-x gstreamer1.0-plugins-good")
    if not environment.get("DISPLAY"):
        raise MissingPartError("no screen to watch: DISPLAY is not set; run this inside a desktop session")
    head = "ximagesrc name=source use-damage=false ! video/x-raw,framerate=(fraction)30/1"
    return Launch(_live(head, available), {"screen-num": uri.location})


def _csi(uri: SourceUri, available: Available, _: Mapping[str, str]) -> Launch:
    if not available("nvarguscamerasrc"):
        raise MissingPartError(
            "csi: cameras need nvarguscamerasrc, which comes with NVIDIA JetPack: run this on a Jetson, "
            "or give a USB camera as webcam:0"
        )
    return Launch(_live(f"nvarguscamerasrc name=source ! {CSI_CAPS}", available), {"sensor-id": uri.location})


def _test(uri: SourceUri, available: Available, _: Mapping[str, str]) -> Launch:
    head = f"videotestsrc name=source is-live=true ! {TEST_CAPS}"
    return Launch(_live(head, available), {"pattern": uri.location})


def _live(head: str, available: Available, *, sync: bool = False) -> str:
    """Every frame is handed over when it comes; the reader decides which to keep, so that it can count the others."""
    sink = f"appsink name=frames sync={str(sync).lower()} max-buffers=2 drop=false"
    return f"{head} ! {download_launch(available)} ! {FORMAT} ! {LIVE_QUEUE} ! {sink}"


def _file_text(head: str, available: Available) -> str:
    """Decoding stands still while the reader is busy."""
    sink = "appsink name=frames sync=false max-buffers=2 drop=false"
    return f"{head} ! {download_launch(available)} ! {UPRIGHT} ! {FORMAT} ! {FILE_QUEUE} ! {sink}"


def _need(available: Available, element: str, package: str, otherwise: str = "") -> None:
    if not available(element):
        advice = f"sudo apt install {package}" + (f", {otherwise}" if otherwise else "")
        raise MissingPartError(f"GStreamer's {element} is missing: {advice}")


_ROWS: dict[str, Callable[[SourceUri, Available, Mapping[str, str]], Launch]] = {
    "webcam": _webcam,
    "rtsp": _rtsp,
    "http": _http,
    "file": _file,
    "screen": _screen,
    "csi": _csi,
    "test": _test,
}
