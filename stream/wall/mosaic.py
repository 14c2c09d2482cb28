"""Tiles drawn on the planes of one picture: each a stream's newest frame, with its faces, its verdict, its state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from engines.preprocess import Bytes, Planes
from stream.overlay import Overlay, OverlayStyle
from stream.overlay.fit import Letterbox
from stream.overlay.header import Bar, Cell, bar_rgba, bar_width, header_height
from stream.overlay.layout import scale_of
from stream.overlay.palette import LOOKS, PAPER, STATE_COLOURS, Rgb, yuv_from_rgb
from stream.overlay.sprites import SpriteCache, blend, fill, sprite_from_rgba
from stream.types import Scene, StreamName, StreamState, Verdict
from stream.wall.grid import Tile, grid

GAP_PX = 8
FRAME_PX = 4
"""Of the line around a tile that shows its verdict."""
DIMMED = 0.4
"""Brightness of the last picture of a stream that is not playing."""
BLACK = (16, 128, 128)
GRAVITY = (Verdict.WARMING_UP, Verdict.REAL, Verdict.UNSURE, Verdict.FAKE)


@dataclass(frozen=True)
class View:
    """What one tile shows."""

    scene: Scene
    planes: Planes | None
    """The newest frame, borrowed; None before the first."""


class Mosaic:
    """Composes pictures of one size. Keeps each stream's drawing between pictures; used by one thread."""

    def __init__(self, size_wh: tuple[int, int], style: OverlayStyle | None = None) -> None:
        """``size_wh``: even."""
        self.size_wh = size_wh
        self._style = style or OverlayStyle()
        self._cache = SpriteCache()
        self._overlays: dict[StreamName, Overlay] = {}

    def compose(self, views: Sequence[View], now_ns: int) -> Bytes:
        """One I420 picture of (H * 3 / 2, W) bytes: U and V lie below Y, each row of theirs in half a row."""
        width, height = self.size_wh
        picture = np.empty((height * 3 // 2, width), np.uint8)
        planes = planes_of(picture)
        fill(planes, (0, 0, width, height), _yuv(PAPER, planes))
        names = {view.scene.stream for view in views}
        self._overlays = {name: self._overlays.get(name) or Overlay(self._style, self._cache) for name in names}
        for tile, view in zip(grid(len(views), self.size_wh, GAP_PX), views, strict=True):
            self._draw(planes, tile, view, now_ns)
        return picture

    def _draw(self, picture: Planes, tile: Tile, view: View, now_ns: int) -> None:
        room, scene = part_of(picture, tile), view.scene
        is_playing = scene.state is StreamState.PLAYING
        fill(room, (0, 0, tile.width, tile.height), BLACK)
        if view.planes is not None:
            _lay_in(room, view.planes, dimmed=not is_playing)
        self._overlays[scene.stream].draw(room, scene if is_playing else _without_rates(scene), now_ns)
        colour = colour_of(scene)
        if colour is not None:
            _frame(room, _yuv(colour, room))
        if not is_playing:
            self._word(room, (Cell(scene.state.value, strong=True, dot=colour),))

    def _word(self, room: Planes, bar: Bar) -> None:
        """In the middle of a tile."""
        scale = 1.5 * scale_of(room.width, room.height)
        sprite = self._cache.get(("word", bar, scale), lambda: sprite_from_rgba(bar_rgba(bar, scale), room))
        blend(room, sprite, (room.width - bar_width(bar, scale)) // 2, (room.height - header_height(scale)) // 2)


def colour_of(scene: Scene) -> Rgb | None:
    """Of the line around a tile: the gravest verdict, or what is wrong with the stream; None: nothing to tell."""
    if scene.state is not StreamState.PLAYING:
        return STATE_COLOURS[scene.state]
    verdicts = [face.verdict for face in scene.faces]
    return LOOKS[max(verdicts, key=GRAVITY.index)].rgb if verdicts else None


def _without_rates(scene: Scene) -> Scene:
    return replace(scene, fps=0.0, latency_ms=0.0)


def planes_of(picture: Bytes) -> Planes:
    """Views of an I420 picture of (H * 3 / 2, W) bytes with even sides."""
    rows, width = picture.shape
    height = rows * 2 // 3
    chroma = picture[height:].reshape(2, height // 2, width // 2)
    return Planes(picture[:height], (chroma[0], chroma[1]), "bt709" if height >= 720 else "bt601")


def part_of(picture: Planes, tile: Tile) -> Planes:
    """Views of one tile of I420 planes."""
    inside = np.s_[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
    halves = np.s_[tile.top // 2 : (tile.top + tile.height) // 2, tile.left // 2 : (tile.left + tile.width) // 2]
    chroma = tuple(plane[halves] for plane in picture.chroma)
    return Planes(picture.y[inside], chroma, picture.matrix, picture.full_range)


def _lay_in(room: Planes, frame: Planes, *, dimmed: bool) -> None:
    """The frame scaled down into the middle of the tile, I420 or NV12."""
    box = Letterbox.of((frame.width, frame.height), (room.width, room.height))
    left, top = 2 * round(box.left / 2), 2 * round(box.top / 2)
    width, height = 2 * round(box.scale * frame.width / 2), 2 * round(box.scale * frame.height / 2)
    place = part_of(room, Tile(left, top, min(width, room.width - left), min(height, room.height - top)))
    chroma = frame.chroma if len(frame.chroma) == 2 else cv2.split(frame.chroma[0])
    for target, source in zip((place.y, *place.chroma), (frame.y, *chroma), strict=True):
        if target.size:
            target[...] = shrunk(source, target.shape[::-1])
    if dimmed:
        place.y[...] = cv2.convertScaleAbs(place.y, alpha=DIMMED, beta=16 * (1 - DIMMED))


def shrunk(plane: Bytes, size_wh: tuple[int, int]) -> Bytes:
    """A plane in another size: averaged over whole pixels first, then interpolated.

    Averaging over parts of pixels looks no better and takes ten times as long: 2.4 ms for a 720p frame, not 0.2.
    """
    height, width = plane.shape
    whole = max(1, min(width // size_wh[0], height // size_wh[1]))
    if whole > 1:
        inside = plane[: height // whole * whole, : width // whole * whole]
        plane = np.asarray(
            cv2.resize(inside, (width // whole, height // whole), interpolation=cv2.INTER_AREA), np.uint8
        )
    return np.asarray(cv2.resize(plane, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)


def _frame(room: Planes, yuv: tuple[int, int, int]) -> None:
    width, height = room.width, room.height
    for rect in (
        (0, 0, width, FRAME_PX),
        (0, height - FRAME_PX, width, height),
        (0, 0, FRAME_PX, height),
        (width - FRAME_PX, 0, width, height),
    ):
        fill(room, rect, yuv)


def _yuv(rgb: Rgb, planes: Planes) -> tuple[int, int, int]:
    return yuv_from_rgb(rgb, planes.matrix, planes.full_range)
