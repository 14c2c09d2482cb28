"""What the output's tests feed and look at: frames from videotestsrc, scenes from a board, decoded mp4s."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stream.types import Scene

try:
    import gi

    for namespace in ("Gst", "GstVideo"):
        gi.require_version(namespace, "1.0")
    from gi.repository import Gst

    Gst.init(None)
    MISSING = [name for name in ("x264enc", "mp4mux", "h264parse", "videotestsrc") if not Gst.ElementFactory.find(name)]
except (ImportError, ValueError) as error:
    MISSING = [str(error)]


def need_gst() -> None:
    """Call at the top of a test module: skips it where GStreamer's parts are missing, or fails with REQUIRE_GST=1."""
    if not MISSING:
        return
    reason = f"GStreamer lacks {', '.join(MISSING)}"
    if os.environ.get("REQUIRE_GST") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def samples(
    count: int, width: int = 160, height: int = 120, *, caps: str = "format=I420", rate: int = 30, pattern: str = "ball"
) -> Iterator[Any]:
    """Gst.Samples as a decoder would hand them over."""
    pipeline = Gst.parse_launch(
        f"videotestsrc num-buffers={count} pattern={pattern} "
        f"! video/x-raw,width={width},height={height},framerate={rate}/1,{caps} ! appsink name=out sync=false"
    )
    pipeline.set_state(Gst.State.PLAYING)
    out = pipeline.get_by_name("out")
    while (sample := out.emit("pull-sample")) is not None:
        yield sample
    pipeline.set_state(Gst.State.NULL)


def bytes_of(sample: Any) -> bytes:
    buffer = sample.get_buffer()
    return bytes(buffer.extract_dup(0, buffer.get_size()))


def decoded(path: Path) -> list[np.ndarray]:
    """Every frame of a video as (H, W, 3) BGR; none when it cannot be played."""
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while True:
        more, frame = capture.read()
        if not more:
            capture.release()
            return frames
        frames.append(frame)


class Scenes:
    """A scene source that gives one scene, or does whatever ``newest`` is told to do."""

    def __init__(self, scene: Scene | None = None, error: Exception | None = None) -> None:
        self.scene, self.error = scene, error

    def newest(self) -> Scene | None:
        if self.error is not None:
            raise self.error
        return self.scene
