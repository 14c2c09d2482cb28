from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.jpeg import jpeg_from_rgb, rgb_from_picture

RED_OVER_BLUE = np.zeros((32, 32, 3), np.uint8)
RED_OVER_BLUE[:15, :, 0] = RED_OVER_BLUE[15:, :, 2] = 240


def error(jpeg: bytes) -> NDArray[np.int64]:
    """(32, 32) the largest of each pixel's channels."""
    rgb = rgb_from_picture(jpeg)
    assert rgb is not None
    return np.asarray(np.abs(rgb.astype(int) - RED_OVER_BLUE).max(2))


def test_colours_come_back_in_their_order() -> None:
    assert error(jpeg_from_rgb(RED_OVER_BLUE, 95))[:8].max() < 10


def test_whole_chroma_keeps_an_edge_within_a_block_of_two() -> None:
    halved, whole = (error(jpeg_from_rgb(RED_OVER_BLUE, 95, whole_chroma=way)).max() for way in (False, True))
    assert whole < 30 < halved


def test_less_quality_is_fewer_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert len(jpeg_from_rgb(noise, 50)) < len(jpeg_from_rgb(noise, 90))


def test_pixels_of_a_view_are_taken_as_they_lie() -> None:
    mirrored = jpeg_from_rgb(RED_OVER_BLUE[::-1], 95)
    assert mirrored == jpeg_from_rgb(np.ascontiguousarray(RED_OVER_BLUE[::-1]), 95)


def test_a_png_is_read_exactly() -> None:
    png = cv2.imencode(".png", RED_OVER_BLUE[..., ::-1].copy())[1].tobytes()
    np.testing.assert_array_equal(rgb_from_picture(png), RED_OVER_BLUE)


@pytest.mark.parametrize("data", [b"", b"no picture", jpeg_from_rgb(RED_OVER_BLUE, 95)[:20]])
def test_what_is_no_picture_is_none(data: bytes) -> None:
    assert rgb_from_picture(data) is None
