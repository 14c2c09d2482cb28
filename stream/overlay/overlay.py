"""A scene drawn on a frame: marks around faces, their labels, the header."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

from engines.preprocess import Bytes, Planes
from stream.overlay.brackets import corner_of, corner_rgba, edges
from stream.overlay.fit import SceneFit
from stream.overlay.header import Bar, bar_rgba, bar_width, header_height, left_bar, right_bar
from stream.overlay.layout import Place, Wish, place_labels, scale_of
from stream.overlay.palette import LOOKS, OverlayStyle, yuv_from_rgb
from stream.overlay.panel import Detail, Label, LabelBook, panel_rgba, panel_size
from stream.overlay.sprites import SpriteCache, blend, fill, sprite_from_rgba
from stream.types import FaceScore, Scene, TrackId, Xyxy

FEW_FACES = 4
"""Up to so many faces get the full label; more get one line each."""
CROWD = 10
"""More faces than this get small lines."""
DEFAULT_STYLE = OverlayStyle()
STALE_OPACITY = 0.8
SMALLEST_FRAME = 64
"""Frames narrower or lower than this, in pixels, have no room for words: only marks are drawn."""


@dataclass(frozen=True)
class _Canvas:
    """One frame and what follows from its size and colours."""

    planes: Planes
    scale: float

    @property
    def layout(self) -> tuple[int, str, bool]:
        """What a sprite must be made for."""
        return len(self.planes.chroma), self.planes.matrix, self.planes.full_range

    @property
    def has_room_for_words(self) -> bool:
        return min(self.planes.width, self.planes.height) >= SMALLEST_FRAME


class Overlay:
    """Draws scenes of one stream. Keeps sprites and label places between frames; used by one thread."""

    def __init__(self, style: OverlayStyle = DEFAULT_STYLE, cache: SpriteCache | None = None) -> None:
        self._style = style
        self._cache = SpriteCache() if cache is None else cache
        self._scene: Scene | None = None
        self._frame_wh = (0, 0)
        self._places: dict[TrackId, Place] = {}
        self._labels = LabelBook(style)
        self._fit = SceneFit()

    def draw(self, planes: Planes, scene: Scene, now_ns: int) -> None:
        """Draw ``scene`` in place on writable planes. ``now_ns``: on the clock of ``scene.captured_ns``.

        A scene whose ``frame_wh`` is another size than the planes' is drawn where the letterbox shows its faces.
        """
        canvas = _Canvas(planes, scale_of(planes.width, planes.height))
        scene = self._fit.of(scene, (planes.width, planes.height))
        age_s = max(0.0, (now_ns - scene.captured_ns) / 1e9) if scene.captured_ns else 0.0
        labels = self._labels.of(scene, age_s)
        boxes = [_followed(face, min(age_s, self._style.follow_s)) for face in scene.faces]
        for box, label in zip(boxes, labels, strict=True):
            self._draw_marks(canvas, box, label)
        if not canvas.has_room_for_words:
            return
        header = self._header(canvas, scene, now_ns)
        self._settle(canvas, scene, labels, [rect for _, rect in header])
        for face, box, label in zip(scene.faces, boxes, labels, strict=True):
            self._draw_label(canvas, box, label, self._places[face.track_id], len(labels))
        for bar, rect in header:
            self._blend(canvas, ("bar", bar), partial(bar_rgba, bar, canvas.scale), rect[0], rect[1])

    def _draw_marks(self, canvas: _Canvas, box: Xyxy, label: Label) -> None:
        look = LOOKS[label.verdict]
        frame = "brackets" if label.stale else look.frame
        corner = corner_of(box[2] - box[0], box[3] - box[1], canvas.scale, frame)
        opacity = STALE_OPACITY if label.stale else 1.0
        left, top, right, bottom = (2 * round(value / 2) for value in box)
        yuv = yuv_from_rgb(label.rgb, canvas.planes.matrix, canvas.planes.full_range)
        for rect in edges((left, top, right, bottom), corner, frame):
            fill(canvas.planes, rect, yuv)
        near, far = corner.stroke, corner.arm + corner.stroke
        spots = [(x, y) for y in (top - near, bottom - far) for x in (left - near, right - far)]
        for index, (x, y) in enumerate(spots):
            key = ("corner", corner, label.rgb, opacity, index)
            self._blend(canvas, key, partial(corner_rgba, corner, label.rgb, opacity, index), x, y)

    def _header(self, canvas: _Canvas, scene: Scene, now_ns: int) -> list[tuple[Bar, Xyxy]]:
        """Bars with their rectangles: name on the left, numbers on the right as far as there is room."""
        margin, scale = round(10 * canvas.scale), canvas.scale
        left, right = left_bar(scene), right_bar(scene, now_ns, self._style)
        room = canvas.planes.width - bar_width(left, scale) - 3 * margin
        while right and bar_width(right, scale) > room:
            right = right[:-1]
        starts = (margin, canvas.planes.width - margin - bar_width(right, scale))
        bottom = margin + header_height(scale)
        return [
            (bar, (start, margin, start + bar_width(bar, scale), bottom))
            for bar, start in zip((left, right), starts, strict=True)
            if bar
        ]

    def _settle(self, canvas: _Canvas, scene: Scene, labels: tuple[Label, ...], header: list[Xyxy]) -> None:
        """Choose places anew when the scene or the frame's size has changed; between scenes labels ride along."""
        frame_wh = (canvas.planes.width, canvas.planes.height)
        if scene is self._scene and frame_wh == self._frame_wh:
            return
        details = _details(len(labels))
        wishes = [
            Wish(face.track_id, face.xyxy, tuple(panel_size(label, detail, canvas.scale) for detail in details))
            for face, label in zip(scene.faces, labels, strict=True)
        ]
        self._places = place_labels(wishes, frame_wh, header, self._places, 8 * canvas.scale)
        self._scene, self._frame_wh = scene, frame_wh

    def _draw_label(self, canvas: _Canvas, box: Xyxy, label: Label, place: Place, face_count: int) -> None:
        detail = _details(face_count)[place.detail]
        width, height = panel_size(label, detail, canvas.scale)
        x = min(max(box[0] + place.dx, 0), max(0, canvas.planes.width - width))
        y = min(max(box[1] + place.dy, 0), max(0, canvas.planes.height - height))
        make = partial(panel_rgba, label, detail, canvas.scale, self._style)
        self._blend(canvas, ("panel", label, detail), make, round(x), round(y))

    def _blend(self, canvas: _Canvas, what: Hashable, make: Callable[[], Bytes], left: float, top: float) -> None:
        key = (what, canvas.scale, canvas.layout)
        sprite = self._cache.get(key, lambda: sprite_from_rgba(make(), canvas.planes))
        blend(canvas.planes, sprite, int(left), int(top))


def _details(face_count: int) -> tuple[Detail, ...]:
    """The best detail first; a label falls back to the next where the best has no room."""
    if face_count <= FEW_FACES:
        return (Detail.FULL, Detail.LINE, Detail.SMALL)
    return (Detail.LINE, Detail.SMALL) if face_count <= CROWD else (Detail.SMALL,)


def _followed(face: FaceScore, seconds: float) -> Xyxy:
    """The box moved by its velocity."""
    dx, dy = (speed * seconds for speed in face.velocity)
    left, top, right, bottom = face.xyxy
    return left + dx, top + dy, right + dx, bottom + dy
