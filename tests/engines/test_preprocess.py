from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.preprocess import (
    BoxGeometry,
    Planes,
    Square,
    crop_grey,
    crop_planes,
    crop_rgb,
    normalise,
    reduced_rgb,
    rgb_from_yuv444,
    square_from_box,
)
from engines.spec import PixelSpec

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))
MATRICES = [(matrix, full) for matrix in ("bt601", "bt709") for full in (False, True)]
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def squares(low: float = -60, high: float = 150, largest: float = 200) -> st.SearchStrategy[Square]:
    centre = st.floats(low, high, allow_nan=False)
    return st.builds(Square, centre, centre, st.floats(0.1, largest, allow_nan=False))


def smooth_planes(width: int, height: int, *, seed: int = 0, **kind: object) -> Planes:
    """A picture without sharp edges, as I420: resampling it in one or in three planes is the same thing."""
    rng = np.random.default_rng(seed)

    def plane(w: int, h: int) -> np.ndarray:
        grid = rng.integers(40, 210, (4, 4)).astype(np.float32)
        return cv2.resize(grid, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.uint8)

    half = ((width + 1) // 2, (height + 1) // 2)
    return Planes(plane(width, height), (plane(*half), plane(*half)), **kind)  # type: ignore[arg-type]


def as_nv12(planes: Planes) -> Planes:
    return Planes(planes.y, (np.dstack(planes.chroma),), planes.matrix, planes.full_range)


def padded(plane: np.ndarray, extra: int = 13) -> np.ndarray:
    """The same pixels as a read-only view into wider rows, as a decoder gives them."""
    wide = np.full((plane.shape[0], plane.shape[1] + extra, *plane.shape[2:]), 99, np.uint8)
    wide[:, : plane.shape[1]] = plane
    wide.flags.writeable = False
    return wide[:, : plane.shape[1]]


def whole_rgb(planes: Planes) -> np.ndarray:
    """The converted frame, chroma enlarged by doubling."""
    chroma = [c.repeat(2, axis=0).repeat(2, axis=1)[: planes.height, : planes.width] for c in planes.chroma]
    return rgb_from_yuv444(np.dstack([planes.y, *chroma]), planes.matrix, planes.full_range)


@given(SIZES, squares(), st.integers(1, 64), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_square_on_any_frame_gives_a_crop_of_the_asked_size(size_wh, square, size, interleaved) -> None:
    planes = smooth_planes(*size_wh)
    crop = crop_planes(as_nv12(planes) if interleaved else planes, square, size)
    assert (crop.shape, crop.dtype) == ((size, size, 3), np.uint8)
    assert crop_rgb(whole_rgb(planes), square, size).shape == (size, size, 3)


@given(SIZES, squares(), st.sampled_from(MATRICES))
@settings(max_examples=100, deadline=None)
def test_both_layouts_of_the_same_frame_give_the_same_crop(size_wh, square, kind) -> None:
    planes = smooth_planes(*size_wh, matrix=kind[0], full_range=kind[1])
    crops = crop_planes(planes, square, 32), crop_planes(as_nv12(planes), square, 32)
    reduced = reduced_rgb(planes, (24, 16)), reduced_rgb(as_nv12(planes), (24, 16))
    for one, other in (crops, reduced):  # halving, OpenCV rounds pairs otherwise: 1 of chroma, 2.02 of blue, rounded
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 3


@given(SIZES, squares())
@settings(max_examples=60, deadline=None)
def test_padded_rows_of_a_borrowed_frame_never_show(size_wh, square) -> None:
    planes = smooth_planes(*size_wh)
    borrowed = Planes(padded(planes.y), tuple(padded(c) for c in planes.chroma))
    pairs = as_nv12(planes)
    borrowed_pairs = Planes(padded(planes.y), (padded(pairs.chroma[0]),))
    for strided, plain in ((borrowed, planes), (borrowed_pairs, pairs)):
        assert np.array_equal(crop_planes(strided, square, 32), crop_planes(plain, square, 32))
        assert np.array_equal(reduced_rgb(strided, (20, 12)), reduced_rgb(plain, (20, 12)))


@given(SIZES, squares(), st.sampled_from(MATRICES))
@settings(max_examples=60, deadline=None)
def test_a_grey_crop_is_the_coloured_one_without_its_colour(size_wh, square, kind) -> None:
    planes = smooth_planes(*size_wh, matrix=kind[0], full_range=kind[1])
    grey = Planes(planes.y, tuple(np.full_like(plane, 128) for plane in planes.chroma), kind[0], kind[1])
    coloured = crop_planes(grey, square, 32).astype(int)
    assert np.abs(crop_grey(planes, square, 32)[..., None].astype(int) - coloured).max() <= 1


def test_what_is_below_black_is_black_in_grey() -> None:
    planes = Planes(np.arange(256, dtype=np.uint8).reshape(16, 16), (np.full((8, 8), 128, np.uint8),) * 2)
    grey = crop_grey(planes, Square(8.0, 8.0, 16.0), 16)
    assert (grey.ravel()[:17].tolist(), grey.ravel()[235:].tolist()) == ([0] * 17, [255] * 21)


@given(st.integers(30, 90), st.integers(30, 90), st.sampled_from(MATRICES), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_a_crop_from_planes_equals_the_crop_of_the_converted_frame(cx, cy, kind, seed) -> None:
    planes = smooth_planes(121, 119, seed=seed, matrix=kind[0], full_range=kind[1])
    square = Square(2.0 * (cx // 2), 2.0 * (cy // 2), 48.0)  # on the chroma grid, so that both cut the same pixels
    live, trained = crop_planes(planes, square, 40), crop_rgb(whole_rgb(planes), square, 40)
    assert np.abs(live.astype(int) - trained).mean() < 2.0


@given(squares(-100, 300, 150))
@settings(max_examples=60, deadline=None)
def test_a_square_outside_the_frame_shows_the_nearest_border(square) -> None:
    rgb = np.zeros((40, 50, 3), np.uint8)
    rgb[:, :25], rgb[:, 25:] = (200, 10, 10), (10, 10, 200)
    crop = crop_rgb(rgb, square, 16)
    if square.cx + square.side / 2 < 0:
        assert (crop == (200, 10, 10)).all()
    if square.cx - square.side / 2 > 50:
        assert (crop == (10, 10, 200)).all()
    assert set(np.unique(crop)) <= set(range(10, 201))


@settings(deadline=None)
@given(st.integers(20, 60), st.integers(20, 60), st.integers(8, 24))
def test_a_face_survives_crop_and_paste(left, top, side) -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 255, (100, 100, 3)).astype(np.uint8)
    crop = crop_rgb(rgb, Square(left + side / 2, top + side / 2, side), side)
    pasted = rgb.copy()
    pasted[top : top + side, left : left + side] = crop
    assert np.array_equal(pasted, rgb)


@settings(deadline=None)
@given(st.floats(0.5, 2), st.floats(-0.3, 0.3), squares(0, 500), st.floats(0.3, 1.0))
def test_a_box_drawn_by_the_geometry_gives_the_square_back(ratio, rise, square, aspect) -> None:
    height = square.side * ratio
    cx, cy = square.cx, square.cy - rise * square.side
    box = (cx - height * aspect / 2, cy - height / 2, cx + height * aspect / 2, cy + height / 2)
    found = square_from_box(box, BoxGeometry(ratio, rise))
    assert (found.cx, found.cy, found.side) == pytest.approx((square.cx, square.cy, square.side), abs=1e-6)
    assert square_from_box(box, BoxGeometry(ratio, rise), margin=1.5).side == pytest.approx(1.5 * square.side)


@pytest.mark.parametrize(("matrix", "full"), MATRICES)
def test_the_matrices_undo_their_definition(matrix: str, full: bool) -> None:
    kr, kb = WEIGHTS[matrix]
    rgb = np.random.default_rng(0).integers(0, 256, (64, 3)).astype(float)
    luma = rgb @ np.array([kr, 1 - kr - kb, kb])
    chroma = np.stack([(rgb[:, 2] - luma) / (2 * (1 - kb)), (rgb[:, 0] - luma) / (2 * (1 - kr))], axis=1)
    gains = (1.0, 1.0, 0.0) if full else (219 / 255, 224 / 255, 16.0)
    yuv = np.column_stack([luma * gains[0] + gains[2], chroma * gains[1] + 128]).round().clip(0, 255).astype(np.uint8)
    assert np.abs(rgb_from_yuv444(yuv[None], matrix, full)[0].astype(float) - rgb).max() <= 3


def test_bt601_limited_range_is_what_opencv_calls_i420() -> None:
    rgb = cv2.resize(np.random.default_rng(3).integers(0, 256, (5, 5, 3)).astype(np.uint8), (64, 48))
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    chroma = yuv[48:].reshape(2, 24, 32)
    converted = whole_rgb(Planes(yuv[:48], (chroma[0], chroma[1])))
    assert np.abs(converted.astype(int) - cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420)).max() <= 2


def test_grey_stays_grey_in_every_matrix() -> None:
    for matrix, full in MATRICES:
        yuv = np.array([[[126 if not full else 128, 128, 128]]], np.uint8)
        assert np.ptp(rgb_from_yuv444(yuv, matrix, full)[0, 0].astype(int)) == 0


def test_black_and_white_reach_the_ends_of_the_range() -> None:
    for matrix in WEIGHTS:
        limited = rgb_from_yuv444(np.array([[[16, 128, 128], [235, 128, 128]]], np.uint8), matrix, False)
        assert limited.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_a_reduced_frame_keeps_what_is_where() -> None:
    planes = smooth_planes(64, 48)
    planes.y[:, :] = 40
    planes.y[:24, 32:] = 220
    small = reduced_rgb(planes, (16, 12)).astype(int).sum(axis=2)
    assert small.shape == (12, 16)
    assert small[:5, 9:].min() > small[7:, :].max()


def test_the_network_sees_its_own_colour_order_mean_and_scale() -> None:
    crop = np.zeros((2, 2, 3), np.uint8)
    crop[...] = (10, 20, 30)
    rgb = normalise([crop, crop], PixelSpec(size=2, colour="rgb", mean=(10, 10, 10), std=(2, 5, 10)))
    bgr = normalise([crop], PixelSpec(size=2, colour="bgr", mean=(30, 0, 0), std=(1, 1, 1)))
    assert (rgb.shape, rgb.dtype, rgb.flags.c_contiguous) == ((2, 3, 2, 2), np.float32, True)
    assert rgb[1, :, 0, 0].tolist() == [0, 2, 2]
    assert bgr[0, :, 1, 1].tolist() == [0, 20, 10]


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("turned", [(slice(None), slice(None)), (slice(None, None, -1), slice(None, None, -1))])
def test_every_byte_is_normalised_to_the_bit_as_the_formula_says(colour: str, turned: tuple[slice, slice]) -> None:
    bytes_ = np.arange(256, dtype=np.uint8)
    crop = np.stack([bytes_, bytes_[::-1], np.roll(bytes_, 100)], axis=-1).reshape(16, 16, 3)[turned]
    pixels = PixelSpec(size=16, colour=colour, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))  # type: ignore[arg-type]
    mean, std = np.asarray(pixels.mean, np.float32), np.asarray(pixels.std, np.float32)
    ordered = crop[..., ::-1] if colour == "bgr" else crop
    expected = (ordered.astype(np.float32) - mean) / std
    np.testing.assert_array_equal(normalise([crop], pixels)[0], expected.transpose(2, 0, 1))


def test_planes_show_their_shape_and_not_their_pixels() -> None:
    planes = smooth_planes(855, 3)
    assert repr(planes) == "Planes(855x3, I420, bt601)"
    assert repr(as_nv12(planes)) == "Planes(855x3, NV12, bt601)"
