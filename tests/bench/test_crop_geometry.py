from __future__ import annotations

import random
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from bench.crop_geometry import (
    PLACINGS,
    TRIED,
    Measured,
    main,
    measure,
    measured,
    medians,
    read_crops,
    solved,
    table_line,
)
from engines.preprocess import BoxGeometry, Square, square_from_box
from stream.errors import UnmaskError
from stream.types import FaceBox, Frame

WHITE = np.full((224, 224, 3), 255, np.uint8)


class BrightestBox:
    """A detector whose face is whatever is bright, drawn ``ratio`` times as large and a little higher."""

    name = "bright"
    geometry = BoxGeometry(1.3, 0.1)

    def detect(self, frame: Frame) -> tuple[FaceBox, ...]:
        rows, columns = np.nonzero(frame.planes.y > 180)
        if not rows.size:
            return ()
        side = columns.max() + 1 - columns.min()
        cx, cy = columns.min() + side / 2, rows.min() + side / 2 - 0.1 * side
        half = side * 1.3 / 2
        return (FaceBox((cx - half * 0.8, cy - half, cx + half * 0.8, cy + half), 0.9),)


def framed_white() -> np.ndarray:
    """A white crop that stays white against its mean colour: the ``live`` ground must be darker than the face."""
    crop = np.zeros((224, 224, 3), np.uint8)
    crop[0], crop[-1], crop[:, 0], crop[:, -1] = 255, 255, 255, 255
    return cv2.dilate(crop, np.ones((41, 41), np.uint8))


@pytest.mark.parametrize("name", PLACINGS)
def test_a_known_geometry_is_measured_in_both_ways(name: str) -> None:
    values = measure(BrightestBox(), [framed_white()] * 5, PLACINGS[name])
    assert len(values) == 5
    assert medians(values) == pytest.approx((1.3, 0.1), abs=0.03)


@pytest.mark.parametrize("name", PLACINGS)
def test_a_crop_lies_wholly_inside_its_picture(name: str) -> None:
    for seed in range(20):
        placed = PLACINGS[name](WHITE, random.Random(seed))
        height, width = placed.rgb.shape[:2]
        half = placed.square.side / 2
        assert height % 2 == width % 2 == 0
        assert placed.square.cx - half >= 0
        assert placed.square.cx + half <= width
        assert placed.square.cy - half >= 0
        assert placed.square.cy + half <= height


def test_measuring_undoes_what_the_cropper_does() -> None:
    geometry, box = BoxGeometry(1.2, 0.06), (100.0, 50.0, 180.0, 170.0)
    value = measured(FaceBox(box, 1.0), square_from_box(box, geometry))
    assert (value.side_ratio, value.rise) == pytest.approx((1.2, 0.06))


def test_a_picture_without_a_face_counts_for_nothing() -> None:
    assert measure(BrightestBox(), [np.zeros((224, 224, 3), np.uint8)], PLACINGS["border"]) == []


def test_the_geometry_that_would_be_measured_as_wanted_is_found() -> None:
    def seen(one: BoxGeometry) -> list[tuple[float, float]]:
        """A detector that notices only half of what a crop leaves out."""
        return [(0.4 + 0.5 * one.side_ratio, 0.3 * one.rise), (0.7 + 0.3 * one.side_ratio, 0.6 * one.rise - 0.01)]

    truth = BoxGeometry(1.18, 0.07)
    assert solved(TRIED, [seen(one) for one in TRIED], seen(truth)) == truth


def test_the_table_says_how_many_were_found() -> None:
    assert "found   2 of 3" in table_line("x", [Measured(1.0, 0.0), Measured(1.2, 0.1)], 3)
    assert "side 1.100" in table_line("x", [Measured(1.0, 0.0), Measured(1.2, 0.1)], 3)
    assert "found   0 of 3" in table_line("x", [], 3)


def archive(folder: Path, name: str, count: int) -> None:
    (folder / "deepfake-faces").mkdir(exist_ok=True)
    with ZipFile(folder / "deepfake-faces" / name, "w") as pictures:
        for number in range(count):
            bgr = np.zeros((224, 224, 3), np.uint8)
            bgr[..., 2] = 10 * number + 50  # red
            pictures.writestr(f"faces_224/{number}.jpg", cv2.imencode(".jpg", bgr)[1].tobytes())


def test_crops_are_read_as_rgb_from_every_archive(tmp_path: Path) -> None:
    archive(tmp_path, "faces_224-00.zip", 6)
    archive(tmp_path, "faces_224-01.zip", 6)
    crops = read_crops(tmp_path, 7)
    assert len(crops) == 7
    assert all(crop.shape == (224, 224, 3) and crop[..., 0].mean() > crop[..., 2].mean() + 40 for crop in crops)


def test_absent_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnmaskError, match="--data"):
        read_crops(tmp_path, 3)
    assert main(["--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_centre_of_the_square_is_the_zero_of_the_rise() -> None:
    assert measured(FaceBox((10, 10, 20, 20), 1.0), Square(15, 15, 10)) == Measured(1.0, 0.0)
