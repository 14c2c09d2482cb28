"""``unmaskoverlay``: draws the newest scene on I420 and NV12 frames in place, at whatever rate they come.

In a pipeline of this process, bind it to a scene source::

    element = UnmaskOverlay()
    element.bind(OverlayBinding(StreamName("lobby"), board, observer))

Made this way it is added to a pipeline by hand: a factory would complain that PyGObject took its floating reference.
``gst-launch-1.0`` finds it through GStreamer's Python plugin loader, in a file of ``$GST_PLUGIN_PATH/python/`` with
``from stream.gst.overlay_element import __gstelementfactory__``; without a scene source it draws the header only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstBase", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GObject, Gst, GstBase, GstVideo  # noqa: E402

from engines.preprocess import Planes  # noqa: E402
from stream.gst.buffers import layout_of, planes_from_bytes  # noqa: E402
from stream.observers import SilentObserver  # noqa: E402
from stream.overlay import Overlay, OverlayStyle  # noqa: E402
from stream.ports import Clock, Observer, SceneSource  # noqa: E402
from stream.types import Scene, StreamName  # noqa: E402

log = logging.getLogger(__name__)

Gst.init(None)

NAME = "unmaskoverlay"
UNBOUND = StreamName("unmask")
CAPS = Gst.Caps.from_string("video/x-raw,format=(string){I420,NV12},width=[1,2147483647],height=[1,2147483647]")


@dataclass(frozen=True)
class OverlayBinding:
    """What an overlay element draws and whom it tells."""

    stream: StreamName = UNBOUND
    scenes: SceneSource | None = None
    observer: Observer = field(default_factory=SilentObserver)
    style: OverlayStyle = field(default_factory=OverlayStyle)
    is_live: bool = True
    """Live: ages are counted on the clock. Otherwise in media time, so that a slow machine does not age a file."""
    clock: Clock = time.monotonic_ns


class UnmaskOverlay(GstBase.BaseTransform):  # type: ignore[misc]  # gi has no types
    """Never drops a frame, never fails one: a drawing that raises is counted and the frame goes on undrawn.

    Everything but ``bind`` runs on the streaming thread.
    """

    __gstmetadata__ = ("Unmask overlay", "Filter/Effect/Video", "Draws face verdicts in place", "Unmask")
    __gsttemplates__ = (
        Gst.PadTemplate.new("sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, CAPS),
        Gst.PadTemplate.new("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, CAPS),
    )

    def __init__(self) -> None:
        super().__init__()
        self.set_in_place(True)
        self.set_qos_enabled(False)
        self._info: Any = None
        self._media_clock = MediaClock()
        self.errors = 0
        """Frames that went on undrawn."""
        self.bind(OverlayBinding())

    def bind(self, binding: OverlayBinding) -> None:
        """Before the pipeline starts."""
        self._binding = binding
        self._overlay = Overlay(binding.style)

    def do_set_caps(self, incaps: Any, outcaps: Any) -> bool:  # noqa: ARG002 - GStreamer's signature
        info = GstVideo.VideoInfo.new_from_caps(incaps)
        self._info = None if info is None else _kept(info)
        return info is not None

    def do_transform_ip(self, buffer: Any) -> Any:
        began = time.perf_counter()
        try:
            self._draw(buffer)
        except Exception as error:  # top of GStreamer's call into Python: the video must go on
            self._count(error)
        self._binding.observer.stage_took(self._binding.stream, "overlay", time.perf_counter() - began)
        return Gst.FlowReturn.OK

    def _draw(self, buffer: Any) -> None:
        binding = self._binding
        scene = (binding.scenes.newest() if binding.scenes is not None else None) or Scene(binding.stream)
        now_ns = binding.clock() if binding.is_live else self._media_clock.now_ns(scene, buffer.pts)
        with writable_planes(buffer, self._info) as planes:
            self._overlay.draw(planes, scene, now_ns)

    def _count(self, error: Exception) -> None:
        self.errors += 1
        self._binding.observer.frame_dropped(self._binding.stream, "video", "error")
        if self.errors == 1:
            log.warning("the overlay of %s failed, the video goes on without it", self._binding.stream, exc_info=error)


class MediaClock:
    """How far the video has gone since it first showed a scene, on the clock of the scene's ``captured_ns``."""

    def __init__(self) -> None:
        self._scene: Scene | None = None
        self._first_pts_ns = 0

    def now_ns(self, scene: Scene, pts_ns: int) -> int:
        if scene is not self._scene or pts_ns < self._first_pts_ns:
            self._scene, self._first_pts_ns = scene, pts_ns
        return scene.captured_ns + pts_ns - self._first_pts_ns


def _kept(info: Any) -> SimpleNamespace:
    """What buffers.py reads of a VideoInfo, read once: every look into a GStreamer structure costs microseconds."""
    colours = SimpleNamespace(matrix=info.colorimetry.matrix, range=info.colorimetry.range)
    return SimpleNamespace(
        width=info.width,
        height=info.height,
        offset=list(info.offset),
        stride=list(info.stride),
        finfo=SimpleNamespace(n_planes=info.finfo.n_planes),
        colorimetry=colours,
    )


@contextmanager
def writable_planes(buffer: Any, info: Any) -> Iterator[Planes]:
    """Views of a buffer's planes by its own strides, writable in place; gone when the block ends.

    Raises ValueError when the memory cannot be written to.
    """
    is_mapped, mapped = buffer.map(Gst.MapFlags.READ | Gst.MapFlags.WRITE)
    if not is_mapped:
        raise ValueError("the frame's memory cannot be written to")
    try:
        yield planes_from_bytes(mapped.data, layout_of(buffer, info), info)
    finally:
        buffer.unmap(mapped)


GObject.type_register(UnmaskOverlay)
__gstelementfactory__ = (NAME, Gst.Rank.NONE, UnmaskOverlay)


def register_overlay() -> None:
    """Make the element known to this process; calling it again does nothing."""
    if Gst.ElementFactory.find(NAME) is None and not Gst.Element.register(None, NAME, Gst.Rank.NONE, UnmaskOverlay):
        raise RuntimeError(f"GStreamer refused to register {NAME}")
