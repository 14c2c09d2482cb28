"""What drawing costs for each 720p frame, and what GStreamer's own way of drawing costs beside it.

    python bench/overlay.py [--frames 600] [--faces 2]

Rows: the drawing alone; our element in a pipeline (its own time, and what it adds to the pipeline); the same picture
handed to GStreamer's ``overlaycomposition`` as one RGBA rectangle per label; and the way through BGRx. The scene
changes five times a second, as a detector's would. CPU time of the drawing thread, so that a busy machine does not
count (the element's own report is wall time); medians and 99th percentiles, all in one run.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import gi
import numpy as np
from rich.console import Console
from rich.table import Table

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

from engines.preprocess import Planes  # noqa: E402
from stream.gst.overlay_element import OverlayBinding, UnmaskOverlay  # noqa: E402
from stream.observers import SilentObserver  # noqa: E402
from stream.overlay import Overlay  # noqa: E402
from stream.types import FaceScore, Scene, StreamName, StreamState, TrackId, Verdict  # noqa: E402

SECOND = 1_000_000_000
FPS = 30
SCENE_EVERY = 6
"""Frames between two scenes: five scenes a second."""
SOURCE = "videotestsrc num-buffers={count} pattern=smpte ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1"


class MovingScene:
    """Faces that drift, with scores that change, five times a second."""

    def __init__(self, face_count: int) -> None:
        self._faces, self._asked = face_count, 0
        self._scene = self._made(0)

    def newest(self) -> Scene:
        self._asked += 1
        if self._asked % SCENE_EVERY == 0:
            self._scene = self._made(self._asked // SCENE_EVERY)
        return self._scene

    def now_ns(self) -> int:
        """Within the frames that show a scene, time goes on."""
        return self._scene.captured_ns + 80_000_000 + (self._asked % SCENE_EVERY) * SECOND // FPS

    def _made(self, step: int) -> Scene:
        faces = tuple(self._face(index, step) for index in range(self._faces))
        captured_ns = SECOND + step * SECOND // 5
        return Scene(
            StreamName("bench"),
            faces,
            captured_ns,
            captured_ns,
            captured_ns,
            30.0,
            84.0,
            "lite0-gru",
            "onnxruntime",
            state=StreamState.PLAYING,
        )

    def _face(self, index: int, step: int) -> FaceScore:
        left, top = 120 + 420 * (index % 3) + 8 * math.sin(step / 3), 130 + 260 * (index // 3 % 2)
        pts_ns = SECOND + step * SECOND // 5
        history = tuple(
            (pts_ns - back * SECOND // 5, 0.5 + 0.4 * math.sin((step - back) / 9)) for back in range(150, -1, -1)
        )
        verdict = (Verdict.FAKE, Verdict.REAL)[index % 2]
        slots = tuple((slot + step) % 7 != 0 for slot in range(20))
        xyxy = (left, top, left + 150, top + 190)
        return FaceScore(TrackId(index), xyxy, verdict, history[-1][1], None, pts_ns, slots, history, (40.0, 0.0))


class StageTimes(SilentObserver):
    """Seconds that the element says it took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def stage_took(self, stream: StreamName, stage: str, seconds: float) -> None:  # noqa: ARG002
        self.seconds.append(seconds)


def drawing_ms(count: int, face_count: int) -> list[float]:
    """The pure drawing on planes in memory."""
    planes = Planes(np.zeros((720, 1280), np.uint8), tuple(np.full((360, 640), 128, np.uint8) for _ in range(2)))
    overlay, scenes, taken = Overlay(), MovingScene(face_count), []
    for _ in range(count):
        scene = scenes.newest()
        began = time.thread_time()
        overlay.draw(planes, scene, scenes.now_ns())
        taken.append(1000 * (time.thread_time() - began))
    return taken


def element_ms(count: int, face_count: int) -> tuple[list[float], list[float]]:
    """(what the element reports, what passes between its pads) of each frame."""
    scenes, observer, element = MovingScene(face_count), StageTimes(), UnmaskOverlay()
    element.bind(OverlayBinding(StreamName("bench"), scenes, observer, clock=scenes.now_ns))
    between = time_between_pads(count, "", element)
    return [1000 * seconds for seconds in observer.seconds], between


def composition_ms(count: int, face_count: int) -> list[float]:
    """GStreamer's overlaycomposition with a ready-made RGBA rectangle for each label and one for the header."""
    element = Gst.ElementFactory.make("overlaycomposition")
    rectangles = [(20, 20, 420, 30)] + [(120 + 420 * (i % 3), 330, 218, 92) for i in range(face_count)]
    composition = _composition(rectangles)
    element.connect("draw", lambda *_: composition)
    return time_between_pads(count, "", element)


def _composition(rectangles: list[tuple[int, int, int, int]]) -> Any:
    composition = None
    for x, y, width, height in rectangles:
        pixels = Gst.Buffer.new_wrapped(bytes(width * height * 4))
        GstVideo.buffer_add_video_meta(pixels, GstVideo.VideoFrameFlags.NONE, GstVideo.VideoFormat.BGRA, width, height)
        rectangle = GstVideo.VideoOverlayRectangle.new_raw(
            pixels, x, y, width, height, GstVideo.VideoOverlayFormatFlags.NONE
        )
        if composition is None:
            composition = GstVideo.VideoOverlayComposition.new(rectangle)
        else:
            composition.add_rectangle(rectangle)
    return composition


def through_bgrx_ms(count: int) -> list[float]:
    """Only the two conversions that drawing on BGRx needs."""
    chain = "videoconvert name=first ! video/x-raw,format=BGRx ! videoconvert name=last ! video/x-raw,format=I420"
    return time_between_pads(count, chain, None)


def time_between_pads(count: int, chain: str, element: Any) -> list[float]:
    """Milliseconds from an element's (or chain's) sink pad to its source pad, of each frame."""
    pipeline = Gst.parse_launch(
        SOURCE.format(count=count) + f" ! {chain + ' ! ' if chain else ''}identity name=tail"
        if element is None
        else SOURCE.format(count=count) + " ! identity name=head  identity name=tail"
    )
    sink = Gst.ElementFactory.make("fakesink")
    pipeline.add(sink)
    first, last = element, element
    if element is not None:
        pipeline.add(element)
        pipeline.get_by_name("head").link(element)
        element.link(pipeline.get_by_name("tail"))
    else:
        first, last = pipeline.get_by_name("first"), pipeline.get_by_name("last")
    pipeline.get_by_name("tail").link(sink)
    came, taken = [0.0], []
    _on_buffer(first.get_static_pad("sink"), lambda: came.__setitem__(0, time.thread_time()))
    _on_buffer(last.get_static_pad("src"), lambda: taken.append(1000 * (time.thread_time() - came[0])))
    pipeline.set_state(Gst.State.PLAYING)
    pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    return taken


def _on_buffer(pad: Any, note: Callable[[], None]) -> None:
    def probe(_pad: Any, _info: Any) -> Any:
        note()
        return Gst.PadProbeReturn.OK

    pad.add_probe(Gst.PadProbeType.BUFFER, probe)


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    milliseconds: list[float]

    def cells(self) -> tuple[str, ...]:
        settled = self.milliseconds[len(self.milliseconds) // 10 :]  # the first frames fill caches
        return self.name, f"{np.median(settled):.2f}", f"{np.percentile(settled, 99):.2f}", str(len(settled))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--faces", type=int, default=2)
    options = parser.parse_args()
    reported, between = element_ms(options.frames, options.faces)
    rows = [
        Row("drawing alone", drawing_ms(options.frames, options.faces)),
        Row("unmaskoverlay, its own report (wall)", reported),
        Row("unmaskoverlay, pad to pad", between),
        Row("overlaycomposition, ready-made labels", composition_ms(options.frames, options.faces)),
        Row("to BGRx and back, nothing drawn", through_bgrx_ms(options.frames)),
    ]
    table = Table("each 720p frame", "median ms", "p99 ms", "frames", title=f"{options.faces} faces")
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)


if __name__ == "__main__":
    main()
