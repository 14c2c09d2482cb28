"""Where tiles lie on a wall."""

from __future__ import annotations

from itertools import combinations

import pytest

from stream.wall.grid import Tile, grid

SIZES = [(1280, 720), (640, 360), (720, 1280), (1920, 256)]


@pytest.mark.parametrize("size_wh", SIZES)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 9, 16, 25])
def test_tiles_are_equal_even_inside_and_apart(count: int, size_wh: tuple[int, int]) -> None:
    tiles = grid(count, size_wh, gap=8)
    assert len(tiles) == count
    assert len({(tile.width, tile.height) for tile in tiles}) == 1
    for tile in tiles:
        assert all(value % 2 == 0 for value in (tile.left, tile.top, tile.width, tile.height))
        assert tile.left >= 0
        assert tile.top >= 0
        assert tile.left + tile.width <= size_wh[0]
        assert tile.top + tile.height <= size_wh[1]
    assert not any(overlap(one, other) for one, other in combinations(tiles, 2))


def overlap(one: Tile, other: Tile) -> bool:
    beside = one.left + one.width <= other.left or other.left + other.width <= one.left
    return not (beside or one.top + one.height <= other.top or other.top + other.height <= one.top)


@pytest.mark.parametrize(
    ("count", "size_wh", "columns"),
    [(1, (1280, 720), 1), (2, (1280, 720), 1), (4, (1280, 720), 2), (9, (1280, 720), 3), (2, (1920, 256), 2)],
)
def test_the_number_of_columns_follows_number_and_shape(count: int, size_wh: tuple[int, int], columns: int) -> None:
    found = len({tile.left for tile in grid(count, size_wh, gap=8)})
    if (count, size_wh) == (2, (1280, 720)):
        assert found in (1, 2), "both give pictures of the same size"
    else:
        assert found == columns


def test_without_streams_there_is_no_tile() -> None:
    assert grid(0, (1280, 720), gap=8) == ()
