"""The wall: takes each stream's newest frame, composes one picture a few times a second, and hands it to an output."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from engines.preprocess import Planes
from stream.errors import OutputError, SourceError
from stream.gst.buffers import map_planes, sample_from_i420, video_info
from stream.gst.session import VideoTap
from stream.overlay import OverlayStyle
from stream.ports import Clock, SceneSource
from stream.types import Scene, StreamName
from stream.wall.mosaic import Mosaic, View

STOP_TIMEOUT_S = 5.0


class Tile:
    """A VideoTap that keeps the newest frame by reference: it costs a stream nothing, at whatever rate it plays."""

    def __init__(self, name: StreamName, scenes: SceneSource) -> None:
        self._name, self._scenes = name, scenes
        self._sample: Any = None

    def push(self, sample: Any, segment: int) -> None:  # noqa: ARG002 - the protocol's signature
        self._sample = sample

    def scene(self) -> Scene:
        return self._scenes.newest() or Scene(self._name)

    def borrow(self, closing: ExitStack) -> Planes | None:
        """The newest frame until ``closing`` ends; None when there is none, or none that can be read."""
        sample = self._sample
        if sample is None:
            return None
        try:
            planes, give_back = map_planes(sample.get_buffer(), video_info(sample.get_caps()))
        except SourceError:
            return None
        closing.callback(give_back)
        return planes


class Wall:
    """Composes on a thread of its own until closed. Tiles may be hung and taken down by any thread."""

    def __init__(
        self,
        output: VideoTap,
        size_wh: tuple[int, int],
        fps: float,
        *,
        style: OverlayStyle | None = None,
        on_error: Callable[[OutputError], None],
        clock: Clock = time.monotonic_ns,
    ) -> None:
        """``size_wh``: sides that 8 divides. ``on_error`` is told once, when composing has failed for good."""
        self._output, self._fps, self._clock, self._on_error = output, fps, clock, on_error
        self._mosaic = Mosaic(size_wh, style)
        self._lock = threading.Lock()
        self._tiles: Mapping[StreamName, Tile] = {}
        """Never changed, only replaced."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wall", daemon=True)
        self._thread.start()

    def hang(self, name: StreamName, scenes: SceneSource) -> Tile:
        """A tile for a stream; one of its name is replaced where it hangs."""
        tile = Tile(name, scenes)
        with self._lock:
            self._tiles = {**self._tiles, name: tile}
        return tile

    def take_down(self, name: StreamName) -> None:
        with self._lock:
            self._tiles = {other: tile for other, tile in self._tiles.items() if other != name}

    def close(self) -> None:
        """No picture follows; the output is the caller's to close."""
        self._stop.set()
        self._thread.join(STOP_TIMEOUT_S)
        self._tiles = {}

    def _run(self) -> None:
        try:
            for pts_ns in self._ticks():
                self._show(tuple(self._tiles.values()), pts_ns)
        except Exception as error:  # top of the thread: the streams go on without the wall
            self._on_error(OutputError(f"the wall has stopped: {error!r}"))

    def _ticks(self) -> Iterator[int]:
        """Nanoseconds since the first picture; one that would be late is left out."""
        began_ns, period_ns, count = self._clock(), round(1e9 / self._fps), 0
        while not self._stop.wait(max(0, began_ns + count * period_ns - self._clock()) / 1e9):
            yield count * period_ns
            count = max(count, (self._clock() - began_ns) // period_ns) + 1

    def _show(self, tiles: Sequence[Tile], pts_ns: int) -> None:
        with ExitStack() as borrowed:
            views = [View(tile.scene(), tile.borrow(borrowed)) for tile in tiles]
            picture = self._mosaic.compose(views, self._clock())
        self._output.push(sample_from_i420(picture, self._fps, pts_ns), 0)
