"""Folders of pictures as calibration sets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.errors import CheckpointError
from engines.export.calibration_crops import read_crops, stand_in_crops

RED_BGR = (0, 0, 255)


def write(folder: Path, count: int, bgr: tuple[int, int, int] = RED_BGR, side: int = 12) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((side, side, 3), bgr, np.uint8))


@pytest.mark.parametrize("side", [6, 8, 30])
def test_pictures_come_as_rgb_at_the_asked_for_size(tmp_path: Path, side: int) -> None:
    write(tmp_path, 3, side=side)
    found = read_crops(tmp_path, 8)
    assert found.crops.shape == (3, 8, 8, 3)
    assert found.labels is None
    assert (found.crops == (255, 0, 0)).all()


def test_real_and_fake_folders_label_a_set_and_share_the_limit(tmp_path: Path) -> None:
    write(tmp_path / "real", 9, (0, 255, 0))
    write(tmp_path / "fake", 5)
    found = read_crops(tmp_path, 8, limit=6)
    assert found.labels is not None
    assert sorted(found.labels) == [0, 0, 0, 1, 1, 1]
    assert (found.crops[found.labels == 1] == (255, 0, 0)).all()
    assert (found.crops[found.labels == 0] == (0, 255, 0)).all()


def test_one_labelled_folder_alone_labels_nothing(tmp_path: Path) -> None:
    write(tmp_path / "fake", 2)
    assert read_crops(tmp_path, 8).labels is None


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give a folder of face crops"):
        read_crops(tmp_path, 8)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_damaged_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.jpg"):
        read_crops(tmp_path, 8)


def test_stand_ins_are_the_same_each_time_and_differ_from_each_other() -> None:
    one, other = stand_in_crops(3, 16), stand_in_crops(3, 16)
    np.testing.assert_array_equal(one.crops, other.crops)
    assert one.crops.shape == (3, 16, 16, 3)
    assert len(np.unique(one.crops.reshape(3, -1), axis=0)) == 3
