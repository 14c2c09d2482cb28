"""Which parts of GStreamer come with which system package. Data, and what was found of them; nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PackageRow:
    """One package of Debian, Ubuntu and JetPack."""

    package: str
    brings: str
    """For people."""
    elements: tuple[str, ...] = ()
    """Factory names."""
    typelibs: tuple[str, ...] = ()
    """Namespaces that Python imports."""
    is_needed: bool = True
    """Whether watching a camera, a file or the demo fails without it."""

    @property
    def parts(self) -> tuple[str, ...]:
        return self.elements + self.typelibs


PACKAGES = (
    PackageRow(
        "gstreamer1.0-plugins-base",
        "decoding and conversion",
        ("appsink", "appsrc", "decodebin", "uridecodebin", "videoconvert", "videoscale", "videotestsrc"),
    ),
    PackageRow(
        "gstreamer1.0-plugins-good",
        "webcams, RTSP, the web, mp4",
        (
            "jpegdec",
            "jpegenc",
            "matroskademux",
            "mp4mux",
            "qtdemux",
            "rtph264depay",
            "rtph264pay",
            "rtspsrc",
            "souphttpsrc",
            "udpsrc",
            "v4l2src",
            "videocrop",
            "videoflip",
        ),
    ),
    PackageRow(
        "gstreamer1.0-plugins-bad", "H.264 and H.265 streams, HLS", ("h264parse", "h265parse", "hlsdemux", "tsdemux")
    ),
    PackageRow("gir1.2-gst-plugins-base-1.0", "their Python bindings", (), ("GstPbutils", "GstRtsp", "GstVideo")),
    PackageRow("gir1.2-gst-rtsp-server-1.0", "the RTSP server", (), ("GstRtspServer",)),
    PackageRow("gstreamer1.0-nice", "the page's video by WebRTC", ("nicesink", "nicesrc"), is_needed=False),
    PackageRow("gir1.2-gst-plugins-bad-1.0", "its Python bindings", (), ("GstWebRTC",), is_needed=False),
    PackageRow("gstreamer1.0-x", "a window on X11", ("ximagesink", "xvimagesink"), is_needed=False),
    PackageRow("gstreamer1.0-gl", "a faster window", ("glimagesink",), is_needed=False),
    PackageRow("gstreamer1.0-pipewire", "watching a Wayland screen", ("pipewiresrc",), is_needed=False),
)

CORE = ("capsfilter", "filesink", "filesrc", "queue", "tee")
"""Come with GStreamer itself."""


@dataclass(frozen=True)
class GstFacts:
    """What was found, once."""

    version: str
    parts: frozenset[str]
    """Of the table's elements and typelibs, those that are there."""
    encoder: str | None
    """The H.264 encoder that is used here; None: there is none."""
    h264_decoder: str | None
    h265_decoder: str | None
