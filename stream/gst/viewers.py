"""Viewers of RTSP streams in a process of their own, for benchmarks: they take the video, count it and show nothing.

From the command line: ``python -m stream.gst.viewers rtsp://…/a rtsp://…/b`` answers each line on its standard input
with one line: how many pictures each viewer has got so far. It ends with its input.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)

WATCH = (
    "rtspsrc name=source protocols=tcp latency=0 ! rtph264depay ! video/x-h264,alignment=(string)au "
    "! fakesink name=end sync=false"
)


class Viewer:
    """One client, from construction until ``close``."""

    def __init__(self, url: str) -> None:
        self._pipeline: Any = Gst.parse_launch(WATCH)
        self._pipeline.get_by_name("source").set_property("location", url)
        self._end: Any = self._pipeline.get_by_name("end")
        self._pipeline.set_state(Gst.State.PLAYING)

    @property
    def pictures(self) -> int:
        """Counted by GStreamer: nothing in Python is called for a picture."""
        found, rendered = self._end.get_property("stats").get_uint64("rendered")
        return int(rendered) if found else 0

    def close(self) -> None:
        self._pipeline.set_state(Gst.State.NULL)


def main(urls: Sequence[str]) -> int:
    viewers = [Viewer(url) for url in urls]
    try:
        for _ in sys.stdin:
            print(*(viewer.pictures for viewer in viewers), flush=True)
    finally:
        for viewer in viewers:
            viewer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
