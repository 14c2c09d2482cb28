"""The wall that a configuration asks for, with its window, recording and RTSP path."""

from __future__ import annotations

from dataclasses import dataclass

from stream.errors import UsageError
from stream.gst.output import OutputTargets, VideoOutput
from stream.gst.recording import OnError
from stream.observers import SilentObserver
from stream.overlay import OverlayStyle
from stream.types import StreamName
from stream.wall.wall import Wall


@dataclass(frozen=True)
class OpenWall:
    """A wall and where its pictures go."""

    wall: Wall
    output: VideoOutput

    def close(self) -> None:
        """The last picture is written when this returns."""
        self.wall.close()
        self.output.close()


def open_wall(
    name: str, targets: OutputTargets, size_wh: tuple[int, int], fps: float, style: OverlayStyle, on_error: OnError
) -> OpenWall:
    """Raises UsageError when its pictures would go nowhere, and OutputError when a target cannot be opened."""
    if targets.is_empty:
        raise UsageError("the wall would be shown nowhere: add --restream, wall.save, or a display")
    output = VideoOutput(
        StreamName(name), targets, None, is_live=True, observer=SilentObserver(), on_error=on_error, style=style
    )
    return OpenWall(Wall(output, size_wh, fps, style=style, on_error=on_error), output)
