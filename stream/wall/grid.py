"""Where tiles lie: as large as a number of pictures of one shape can be in one picture."""

from __future__ import annotations

from dataclasses import dataclass

SHAPE = 16 / 9
"""Of most cameras; others are letterboxed."""


@dataclass(frozen=True)
class Tile:
    """A rectangle in even pixels, so that luma and chroma stay aligned."""

    left: int
    top: int
    width: int
    height: int


def grid(count: int, size_wh: tuple[int, int], gap: int) -> tuple[Tile, ...]:
    """``count`` equal tiles in rows, filled from the left; ``gap`` pixels between them and around."""
    if count < 1:
        return ()
    columns = max(range(1, count + 1), key=lambda columns: _picture_width(columns, count, size_wh, gap))
    rows = -(-count // columns)
    width, height = _cell(columns, size_wh[0], gap), _cell(rows, size_wh[1], gap)
    return tuple(
        Tile(
            _start(index % columns, columns, size_wh[0], gap),
            _start(index // columns, rows, size_wh[1], gap),
            width,
            height,
        )
        for index in range(count)
    )


def _picture_width(columns: int, count: int, size_wh: tuple[int, int], gap: int) -> float:
    """Of the pictures that fit into the cells of so many columns."""
    rows = -(-count // columns)
    return min(_cell(columns, size_wh[0], gap), _cell(rows, size_wh[1], gap) * SHAPE)


def _cell(parts: int, whole: int, gap: int) -> int:
    """Length of one of ``parts``; never under 2."""
    return max(2, 2 * ((whole - gap * (parts + 1)) // parts // 2))


def _start(index: int, parts: int, whole: int, gap: int) -> int:
    """Where the ``index``-th of ``parts`` begins; what is left over lies around all of them."""
    used = parts * _cell(parts, whole, gap) + (parts - 1) * gap
    return 2 * (max(0, whole - used) // 4) + index * (_cell(parts, whole, gap) + 2 * (gap // 2))
