from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stream.contact_sheet import GAP_PX, sample_frames, write_contact_sheet
from stream.errors import OutputError


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """60 frames that grow brighter, 25 a second, 64x48."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for index in range(60):
        writer.write(np.full((48, 64, 3), 4 * index, np.uint8))
    writer.release()
    return path


def test_frames_are_spread_over_the_whole_video(video: Path) -> None:
    frames = sample_frames(video, 12)
    assert [round(rgb.mean() / 4) for _, rgb in frames] == [2, 7, 12, 17, 22, 27, 32, 37, 42, 47, 52, 57]
    assert np.allclose([time_s for time_s, _ in frames], (np.arange(12) * 5 + 2) / 25, atol=0.05)


def test_colours_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    writer.write(np.full((48, 64, 3), (0, 0, 255), np.uint8))
    writer.release()
    red, green, blue = sample_frames(path, 1)[0][1].mean(axis=(0, 1))
    assert red > 200 > 60 > max(green, blue)


def test_a_sheet_has_its_columns_rows_and_width(video: Path, tmp_path: Path) -> None:
    write_contact_sheet(video, tmp_path / "sheet.png", columns=4, rows=3, width_px=1000)
    with Image.open(tmp_path / "sheet.png") as sheet:
        tile = (1000 - 5 * GAP_PX) // 4
        assert sheet.size == (4 * tile + 5 * GAP_PX, 3 * round(tile * 48 / 64) + 4 * GAP_PX)
        pixels = np.asarray(sheet)
    centres = [pixels[GAP_PX + tile // 3, GAP_PX + tile // 2 + column * (tile + GAP_PX)].mean() for column in range(4)]
    assert centres == sorted(centres)
    assert centres[0] < centres[3]


def test_each_frame_bears_its_time(video: Path, tmp_path: Path) -> None:
    write_contact_sheet(video, tmp_path / "sheet.png", columns=2, rows=1, width_px=800)
    with Image.open(tmp_path / "sheet.png") as sheet:
        right = np.asarray(sheet)[-60:, 400:520]
    assert right.max() == 255
    assert right.min() < 30


def test_a_short_video_makes_a_short_sheet(tmp_path: Path) -> None:
    path = tmp_path / "short.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    assert len(sample_frames(path, 12)) == 3


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_what_is_no_video_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(OutputError, match="cannot read"):
        write_contact_sheet(tmp_path / "clip.mp4", tmp_path / "sheet.png")


def test_a_sheet_that_cannot_be_written_is_one_clear_line(video: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_contact_sheet(video, tmp_path / "no" / "sheet.png")
