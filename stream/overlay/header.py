"""The bar on top: whose picture this is, how fresh it is, and what judges it."""

from __future__ import annotations

from dataclasses import dataclass

from engines.preprocess import Bytes
from stream.overlay.ink import ground, lay, rounded_mask, text_mask
from stream.overlay.palette import (
    FAINT,
    LOOKS,
    PAPER,
    PAPER_OPACITY,
    QUIET_TEXT,
    STATE_COLOURS,
    TEXT,
    OverlayStyle,
    Rgb,
)
from stream.types import Scene, Verdict

MAX_NAME = 24


@dataclass(frozen=True)
class Cell:
    """One field of the bar; equal cells are the same picture."""

    text: str
    strong: bool = False
    dot: Rgb | None = None
    """A coloured point before the text."""
    warns: bool = False


Bar = tuple[Cell, ...]
"""Cells side by side; equal bars are the same picture."""


def left_bar(scene: Scene) -> Bar:
    """Name and state; the state is a word too, not only a colour."""
    name = scene.stream if len(scene.stream) <= MAX_NAME else scene.stream[: MAX_NAME - 3] + "..."
    return Cell(name, strong=True, dot=STATE_COLOURS[scene.state]), Cell(scene.state.value)


def right_bar(scene: Scene, now_ns: int, style: OverlayStyle) -> Bar:
    """Rate, latency, thinned sampling, age of the scores, then model and backend.

    The last are the first to go when room is short.
    """
    cells = [Cell(f"{scene.fps:.0f} fps")] if scene.fps > 0 else []
    if scene.latency_ms > 0:
        cells.append(Cell(f"latency {_calm(scene.latency_ms)} ms"))
    if scene.thinned_to > 1:
        cells.append(Cell(f"sampling 1/{scene.thinned_to}", warns=True))
    cells.append(_age(scene, now_ns, style))
    if scene.detector_has_fallen_back:
        cells.append(Cell("detector on its fallback", warns=True))
    made_by = _made_by(scene)
    return (*cells, made_by) if made_by.text else tuple(cells)


def _made_by(scene: Scene) -> Cell:
    """After a fallback it says so in a word and in a colour."""
    backend = f"{scene.backend} (fallback)" if scene.has_fallen_back else scene.backend
    return Cell(" · ".join(part for part in (scene.model, backend) if part), warns=scene.has_fallen_back)


def _age(scene: Scene, now_ns: int, style: OverlayStyle) -> Cell:
    if not scene.captured_ns:
        return Cell("no scores yet")
    age_s = max(0.0, (now_ns - scene.captured_ns) / 1e9)
    return Cell(f"scores {min(age_s, 999):.1f} s old", warns=age_s > style.stale_after_s)


def _calm(milliseconds: float) -> int:
    """Whole numbers below 20, tens above: digits that flicker are not read."""
    return round(milliseconds) if milliseconds < 20 else 10 * round(milliseconds / 10)


def header_height(scale: float) -> int:
    return round(28 * scale)


def cell_width(cell: Cell, scale: float) -> int:
    """In steps, so that the bar does not tremble with every digit; even, so that cells touch."""
    step = max(2, 2 * round(5 * scale))
    dot = round(15 * scale) if cell.dot else 0
    content = int(text_mask(cell.text, _text_px(scale), strong=cell.strong).shape[1]) + dot
    return -(-(content + round(18 * scale)) // step) * step


def bar_width(bar: Bar, scale: float) -> int:
    return sum(cell_width(cell, scale) for cell in bar)


def bar_rgba(bar: Bar, scale: float) -> Bytes:
    """The cells side by side as an (H, W, 4) picture of bar_width and header_height."""
    ground_mask = rounded_mask(bar_width(bar, scale), header_height(scale), round(7 * scale))
    picture = ground(ground_mask, PAPER, PAPER_OPACITY)
    left = 0
    for cell in bar:
        if left:
            _lay_divider(picture, left, scale)
        _lay_cell(picture, cell, left, scale)
        left += cell_width(cell, scale)
    return picture


def _lay_cell(picture: Bytes, cell: Cell, left: int, scale: float) -> None:
    """Dot and text in the middle of the cell that begins at ``left``."""
    text = text_mask(cell.text, _text_px(scale), strong=cell.strong)
    dot_px, dot_room = round(9 * scale), round(15 * scale) if cell.dot else 0
    left += (cell_width(cell, scale) - text.shape[1] - dot_room) // 2
    middle = picture.shape[0] // 2
    if cell.dot:
        lay(picture, rounded_mask(dot_px, dot_px, dot_px // 2), left, middle - dot_px // 2, cell.dot)
    lay(picture, text, left + dot_room, middle - round(text.shape[0] * 0.56), _colour(cell))


def _colour(cell: Cell) -> Rgb:
    if cell.warns:
        return LOOKS[Verdict.UNSURE].rgb
    return TEXT if cell.strong else QUIET_TEXT


def _lay_divider(picture: Bytes, left: int, scale: float) -> None:
    height, width = round(12 * scale), max(1, round(scale))
    lay(picture, rounded_mask(width, height, 0), left, (picture.shape[0] - height) // 2, FAINT, 0.8)


def _text_px(scale: float) -> int:
    return max(9, round(14 * scale))
