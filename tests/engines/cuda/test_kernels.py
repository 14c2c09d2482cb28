"""The kernels' own source, compiled for this processor, against OpenCV and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.cuda.host import HostKernels
from engines.cuda.layout import (
    MATRICES,
    Record,
    face_records,
    grid_over,
    levels_record,
    matrices_record,
    packed,
)
from engines.preprocess import Floats, Levels, Planes, Square, crop_planes, normalise, reduced_rgb, rgb_from_yuv444
from engines.spec import PixelSpec
from tests.engines.cuda.pictures import KINDS, noise_planes

ONE = 1.0
"""Most that a byte may differ: 1/255 of full scale. On this OpenCV all are equal; others round a half otherwise."""
BYTES = Levels()
PLAIN = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Uploaded:
    """A frame packed into memory of our own."""

    def __init__(self, planes: Planes) -> None:
        layout = packed(planes)
        self.memory = np.empty(layout.size, np.uint8)
        layout.fill(self.memory, planes)
        self.record = layout.record(self.memory.ctypes.data)


def address(values: np.ndarray[Any, Any]) -> np.uint64:
    return np.uint64(values.ctypes.data)


def run(kernels: HostKernels, name: str, first: Record, levels: Levels, out: Floats, *numbers: int) -> Floats:
    """``out`` after a kernel; all of it must have been written."""
    out[:] = np.nan
    matrices, wanted = matrices_record(), levels_record(levels)
    grid = grid_over(out.shape[3], out.shape[2], len(out))
    arguments = [address(first), address(matrices), address(wanted), address(out), *map(np.int32, numbers)]
    kernels.launch(name, grid, arguments)
    assert not np.isnan(out).any()
    return out


def crops(kernels: HostKernels, faces: list[tuple[Uploaded, Square]], size: int, levels: Levels = BYTES) -> Floats:
    records = face_records([(frame.record, square) for frame, square in faces])
    return run(kernels, "crop_faces", records, levels, np.empty((len(faces), 3, size, size), np.float32), size)


def canvas(
    kernels: HostKernels, frame: Uploaded, inner_wh: tuple[int, int], canvas_wh: tuple[int, int], levels: Levels = BYTES
) -> Floats:
    out = np.empty((1, 3, canvas_wh[1], canvas_wh[0]), np.float32)
    return run(kernels, "letterbox", frame.record, levels, out, *inner_wh, *canvas_wh)


def difference(found: Floats, rgb: np.ndarray[Any, Any]) -> float:
    """Largest, between a (3, H, W) of bytes and an (H, W, 3) picture."""
    return float(np.abs(found.transpose(1, 2, 0) - rgb.astype(np.float32)).max())


@given(
    wh=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    centre=st.tuples(st.floats(-60, 180), st.floats(-60, 180)),
    side=st.floats(0.1, 260),
    size=st.integers(1, 70),
    kind=st.sampled_from(KINDS),
    pad=st.sampled_from([0, 13]),
)
@settings(PLAIN, max_examples=250)
def test_any_square_on_any_frame_is_cut_as_on_the_processor(kernels, wh, centre, side, size, kind, pad) -> None:
    planes, square = noise_planes(*wh, kind, pad=pad), Square(*centre, side)
    (found,) = crops(kernels, [(Uploaded(planes), square)], size)
    assert difference(found, crop_planes(planes, square, size)) <= ONE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [0.25, 0.5, 1, 2, 3, 4, 6, 2.23])
def test_every_ratio_meets_opencvs_way_of_it(kernels: HostKernels, factor: float, kind: tuple[Any, bool, bool]) -> None:
    """Halving, whole, broken and enlarging ratios each are a method of their own, in luma and chroma apart."""
    size, planes = 48, noise_planes(301, 299, kind)
    square = Square(150.0, 150.0, factor * size)
    (found,) = crops(kernels, [(Uploaded(planes), square)], size)
    assert difference(found, crop_planes(planes, square, size)) <= ONE


@pytest.mark.parametrize(
    "square",
    [Square(x, y, 80.0) for x in (-200, 0, 95, 190, 400) for y in (-200, 0, 67, 134, 400)],
    ids=lambda square: f"{square.cx:g},{square.cy:g}",
)
def test_borders_are_replicated_on_every_side(kernels: HostKernels, square: Square) -> None:
    planes = noise_planes(191, 135, KINDS[1])
    (found,) = crops(kernels, [(Uploaded(planes), square)], 33)
    assert difference(found, crop_planes(planes, square, 33)) <= ONE


@given(
    wh=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    inner=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    room=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    kind=st.sampled_from(KINDS),
    pad=st.sampled_from([0, 13]),
)
@settings(PLAIN, max_examples=200)
def test_any_frame_is_laid_on_its_canvas_as_on_the_processor(kernels, wh, inner, room, kind, pad) -> None:
    planes = noise_planes(*wh, kind, pad=pad)
    (found,) = canvas(kernels, Uploaded(planes), inner, (inner[0] + room[0], inner[1] + room[1]))
    assert difference(found[:, : inner[1], : inner[0]], reduced_rgb(planes, inner)) <= ONE
    assert not found[:, inner[1] :].any()
    assert not found[:, :, inner[0] :].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inner", [(100, 60), (50, 30), (25, 15), (40, 24), (200, 120), (400, 240), (100, 130)])
def test_a_whole_frame_is_reduced_by_every_method(
    kernels: HostKernels, inner: tuple[int, int], kind: tuple[Any, bool, bool]
) -> None:
    planes = noise_planes(200, 120, kind)
    (found,) = canvas(kernels, Uploaded(planes), inner, inner)
    assert difference(found, reduced_rgb(planes, inner)) <= ONE


def test_faces_of_many_frames_share_one_launch(kernels: HostKernels) -> None:
    pictures = [noise_planes(64 + 10 * number, 90, kind, seed=number) for number, kind in enumerate(KINDS)]
    frames = [Uploaded(planes) for planes in pictures]
    squares = [Square(30.0, 40.0 + number, 25.0 + 6 * number) for number in range(len(frames))]
    order = [3, 0, 7, 7, 1, 2, 6, 5, 4, 0]
    found = crops(kernels, [(frames[n], squares[n]) for n in order], 40)
    for batch, number in zip(found, order, strict=True):
        assert difference(batch, crop_planes(pictures[number], squares[number], 40)) <= ONE


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_levels_and_colour_order_are_the_networks_own(kernels: HostKernels, colour: Any) -> None:
    planes, square = noise_planes(80, 60), Square(40.0, 30.0, 50.0)
    pixels = PixelSpec(size=24, colour=colour, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    levels = Levels(colour, pixels.mean, pixels.std)
    found = crops(kernels, [(Uploaded(planes), square)], 24, levels)
    wanted = normalise([crop_planes(planes, square, 24)], pixels)
    assert np.abs(found - wanted).max() <= ONE / min(pixels.std) + 1e-6


def test_the_canvas_beside_the_frame_is_black_on_the_networks_scale(kernels: HostKernels) -> None:
    levels = Levels("bgr", (127.5, 127.5, 127.5), (128.0, 64.0, 32.0))
    (found,) = canvas(kernels, Uploaded(noise_planes(40, 30)), (20, 15), (32, 32), levels)
    assert found[:, 20, 25].tolist() == pytest.approx([-127.5 / 128, -127.5 / 64, -127.5 / 32])


@pytest.mark.parametrize("kind", KINDS[::2])
def test_no_colour_is_off_by_more_than_a_step(kernels: HostKernels, kind: tuple[Any, bool, bool]) -> None:
    """All of 52 levels of Y, U and V against each other, through a frame that is cut as it is."""
    levels = np.arange(0, 256, 5, np.uint8)
    u, v = np.meshgrid(levels, levels)
    for luma in levels:
        y = np.full((104, 104), luma, np.uint8)
        planes = Planes(y, (u, v), kind[0], kind[1])
        (found,) = canvas(kernels, Uploaded(planes), (104, 104), (104, 104))
        assert difference(found, reduced_rgb(planes, (104, 104))) <= ONE


def test_the_kernels_matrices_are_the_processors() -> None:
    yuv = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for (matrix, full), rows in zip(MATRICES, matrices_record(), strict=True):
        whole = (yuv.astype(int) @ rows[:, :3].T + rows[:, 3]) >> 10
        assert np.abs(whole.clip(0, 255) - rgb_from_yuv444(yuv, matrix, full).astype(int)).max() <= ONE
