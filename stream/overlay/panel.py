"""The label of one face, as an RGBA picture: verdict and number, the window's slots, the last half minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from engines.preprocess import Bytes
from stream.overlay.ink import ground, icon_mask, lay, rounded_mask, text_mask
from stream.overlay.palette import (
    FAINT,
    LOOKS,
    PAPER,
    PAPER_OPACITY,
    QUIET_TEXT,
    REASONS,
    STALE,
    TEXT,
    OverlayStyle,
    Rgb,
)
from stream.types import FaceScore, Scene, Verdict


class Detail(Enum):
    """How much of a face's label is shown."""

    FULL = "full"
    LINE = "line"
    SMALL = "small"


SMALL_SCALE = 0.78
CHART_STEPS = 120
"""The sparkline's time axis is cut in so many steps: a picture is redrawn when a score arrives, not every frame."""


@dataclass(frozen=True)
class Label:
    """All that a label shows; equal labels are the same picture."""

    verdict: Verdict
    value: str
    slots: tuple[bool, ...]
    chart: tuple[tuple[int, int], ...]
    """(step 0..CHART_STEPS, per cent) of the history, oldest first."""
    stale: bool

    @property
    def rgb(self) -> Rgb:
        return STALE if self.stale else LOOKS[self.verdict].rgb


def label_of(face: FaceScore, pts_ns: int, age_s: float, style: OverlayStyle) -> Label:
    """What to show of ``face`` at media time ``pts_ns`` when its score is ``age_s`` old."""
    stale = age_s > style.stale_after_s
    value = f"stale {age_s:.1f} s" if stale else _value(face)
    return Label(face.verdict, value, face.slots, _chart(face.history, pts_ns, style.history_s), stale)


def _value(face: FaceScore) -> str:
    """A number only for a verdict that stands on it."""
    if face.verdict is Verdict.WARMING_UP:
        return f"{sum(face.slots)} of {len(face.slots)}" if face.slots else ""
    if face.reason is not None:
        return REASONS[face.reason]
    if face.verdict is Verdict.UNSURE or face.fake_probability is None:
        return "no clear sign"
    return f"{round(100 * face.fake_probability)}% fake"


def _chart(history: Sequence[tuple[int, float]], pts_ns: int, history_s: float) -> tuple[tuple[int, int], ...]:
    newest = max([pts_ns, *(pts for pts, _ in history)])
    steps = ((round(CHART_STEPS * (1 - (newest - pts) / 1e9 / history_s)), value) for pts, value in history)
    return tuple((step, round(100 * min(max(value, 0.0), 1.0))) for step, value in steps if step >= 0)


class LabelBook:
    """Labels of the newest scene, made once for a scene and, when a score is stale, for each tenth of a second."""

    def __init__(self, style: OverlayStyle) -> None:
        self._style = style
        self._scene: Scene | None = None
        self._lag_s = 0.0
        self._tenth = 0
        self._labels: tuple[Label, ...] = ()

    def of(self, scene: Scene, age_s: float) -> tuple[Label, ...]:
        """In the order of the scene's faces; ``age_s``: of the scene."""
        is_new = scene is not self._scene
        if is_new:
            self._scene, self._lag_s = scene, max((_lag_s(face, scene) for face in scene.faces), default=0.0)
        tenth = round(age_s * 10) if age_s + self._lag_s > self._style.stale_after_s else 0
        if is_new or tenth != self._tenth:
            self._tenth = tenth
            self._labels = tuple(
                label_of(face, scene.pts_ns, tenth / 10 + _lag_s(face, scene), self._style) for face in scene.faces
            )
        return self._labels


def _lag_s(face: FaceScore, scene: Scene) -> float:
    """How much older the score is than the scene that shows it."""
    return 0.0 if face.scored_pts_ns is None else max(0.0, (scene.pts_ns - face.scored_pts_ns) / 1e9)


def panel_size(label: Label, detail: Detail, scale: float) -> tuple[int, int]:
    """(width, height) of the label's picture in pixels, without drawing it."""
    if detail is Detail.FULL:
        return round(218 * scale), round((92 if label.chart else 54) * scale)
    unit = scale * (SMALL_SCALE if detail is Detail.SMALL else 1.0)
    return _line_width(label, unit), round(32 * unit)


def panel_rgba(label: Label, detail: Detail, scale: float, style: OverlayStyle) -> Bytes:
    """The label as an (H, W, 4) picture of panel_size."""
    width, height = panel_size(label, detail, scale)
    unit = scale * (SMALL_SCALE if detail is Detail.SMALL else 1.0)
    picture = ground(rounded_mask(width, height, round(7 * unit)), PAPER, PAPER_OPACITY)
    _lay_verdict(picture, label, unit)
    if detail is Detail.FULL:
        _lay_slots(picture, label, scale)
        if label.chart:
            _lay_chart(picture, label, scale, style)
    return picture


def _sizes(unit: float) -> tuple[int, int, int]:
    """Of the icon, the word and the value."""
    return round(18 * unit), max(9, round(17 * unit)), max(9, round(15 * unit))


def _line_width(label: Label, unit: float) -> int:
    icon, word_px, value_px = _sizes(unit)
    word = int(text_mask(LOOKS[label.verdict].word, word_px, strong=True).shape[1])
    value = int(text_mask(label.value, value_px).shape[1]) + round(9 * unit) if label.value else 0
    return round(8 * unit) + icon + round(7 * unit) + word + value + round(10 * unit)


def _lay_verdict(picture: Bytes, label: Label, unit: float) -> None:
    """Icon and word on the left, the number or reason on the right."""
    icon_px, word_px, value_px = _sizes(unit)
    look, middle, left = LOOKS[label.verdict], round(16 * unit), round(8 * unit)
    lay(picture, icon_mask(look.icon, icon_px), left, middle - icon_px // 2, label.rgb)
    word = text_mask(look.word, word_px, strong=True)
    left += icon_px + round(7 * unit)
    lay(picture, word, left, _text_top(middle, word), QUIET_TEXT if label.stale else TEXT)
    if label.value:
        value = text_mask(label.value, value_px)
        right = picture.shape[1] - round(10 * unit) - value.shape[1]
        is_number = label.value.endswith("% fake") and not label.stale
        lay(picture, value, right, _text_top(middle, value), TEXT if is_number else QUIET_TEXT)


def _text_top(middle: int, mask: Bytes) -> int:
    """Where a line of text looks centred: capitals, not the descender, are balanced."""
    return middle - round(int(mask.shape[0]) * 0.56)


def _lay_slots(picture: Bytes, label: Label, scale: float) -> None:
    """One cell per slot, oldest left; a missing sample is a hollow, low cell."""
    if not label.slots:
        return
    left, top = round(10 * scale), round(37 * scale)
    filled, hollow = _cells(label.slots, scale)
    lay(picture, filled, left, top, label.rgb)
    lay(picture, hollow, left, top, FAINT, 0.8)


def _cells(slots: tuple[bool, ...], scale: float) -> tuple[Bytes, Bytes]:
    """Masks of the filled cells and of the hollow ones."""
    width, height, gap = 198 * scale, max(3, round(6 * scale)), max(1, round(2 * scale))
    filled, hollow = (np.zeros((height, round(width)), np.uint8) for _ in range(2))
    edges = [round(width * edge / len(slots)) for edge in range(len(slots) + 1)]
    for is_filled, x1, x2 in zip(slots, edges, edges[1:], strict=False):
        mask, low = (filled, height) if is_filled else (hollow, max(1, height // 3))
        mask[height - low :, x1 : max(x1 + 1, x2 - gap)] = 255
    return filled, hollow


def _lay_chart(picture: Bytes, label: Label, scale: float, style: OverlayStyle) -> None:
    """Fake probability over time with the two limits; the dot is now."""
    left, top, width, height = (round(value * scale) for value in (10, 52, 198, 30))
    for limit, verdict in ((style.fake_at, Verdict.FAKE), (style.real_at, Verdict.REAL)):
        y = top + round((1 - limit) * (height - 1))
        lay(picture, _dotted(width, scale), left, y, STALE if label.stale else LOOKS[verdict].rgb, 0.55)
    points = [(x / CHART_STEPS * (width - 5 * scale), (1 - y / 100) * (height - 1)) for x, y in label.chart]
    curve, area, dot = _curve(points, (width, height), scale)
    lay(picture, area, left, top, label.rgb, 0.20)
    lay(picture, curve, left, top, QUIET_TEXT if label.stale else TEXT)
    margin = round(5 * scale)
    lay(picture, dot, left - margin, top - margin, label.rgb)


def _dotted(width: int, scale: float) -> Bytes:
    mask = np.zeros((max(1, round(scale)), width), np.uint8)
    pitch = max(4, round(6 * scale))
    mask[:, np.arange(width) % pitch < pitch // 2] = 255
    return mask


def _curve(points: list[tuple[float, float]], size: tuple[int, int], scale: float) -> tuple[Bytes, Bytes, Bytes]:
    """Masks of the line, of the area below it, and of the last point (with a margin of 5 units around)."""
    width, height = size
    line, area = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    margin = round(5 * scale)
    dot = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    fine = np.rint(np.array(points) * 16).astype(np.int32)
    below = np.array([[fine[-1][0], height * 16], [fine[0][0], height * 16]], np.int32)
    cv2.fillPoly(area, [np.concatenate([fine, below])], 255, cv2.LINE_AA, 4)
    cv2.polylines(line, [fine], False, 255, max(1, round(1.6 * scale)), cv2.LINE_AA, 4)
    centre = fine[-1] + margin * 16
    cv2.circle(dot, (int(centre[0]), int(centre[1])), round(3.5 * scale * 16), 255, -1, cv2.LINE_AA, 4)
    return line, area, dot
