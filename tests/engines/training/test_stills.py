"""The reader of sets to measure on takes what it finds, and says what it did not find."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.training.errors import TrainingError
from engines.training.stills import open_stills, read_stills, sample
from tests.engines.training.faces_on_disk import rows_of, write_set


@pytest.mark.parametrize("zipped", [False, True])
def test_every_picture_of_the_split_comes_once_with_its_row(zipped: bool, tmp_path: Path) -> None:
    root = write_set(tmp_path, [*rows_of(2, "val", "a"), *rows_of(1, "test", "b")], zipped=zipped)
    found = read_stills(root, "val")
    stills = list(open_stills(root, found.items))
    assert sorted(still.item.name for still in stills) == sorted(item.name for item in found.items)
    assert len(stills) == 6
    fake = next(still for still in stills if still.item.name == "a1f0")
    assert (fake.item.is_fake, fake.item.source, fake.rgb.shape) == (True, "a1r", (224, 224, 3))
    assert fake.file_bytes > 500


def test_all_names_every_row(tmp_path: Path) -> None:
    root = write_set(tmp_path, [*rows_of(2, "val", "a"), *rows_of(1, "test", "b")], zipped=False)
    assert len(read_stills(root, "all").items) == 9


def test_a_set_without_a_split_column_is_read_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("videoname,label,original\na.mp4,REAL,\nb.mp4,FAKE,a.mp4\n")
    assert [item.source for item in read_stills(tmp_path, "all").items] == ["a", "a"]
    with pytest.raises(TrainingError, match="no split column"):
        read_stills(tmp_path, "val")


def test_sources_in_another_split_are_counted_and_not_refused(tmp_path: Path) -> None:
    rows = [("r.mp4", "REAL", "", "train"), ("f.mp4", "FAKE", "r.mp4", "val"), ("q.mp4", "REAL", "", "val")]
    assert read_stills(write_set(tmp_path, rows, zipped=False), "val").leaking == 1


def test_pictures_of_any_size_and_kind_are_read_in_rgb(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("videoname,label,original,split,manipulation\na.mp4,FAKE,b.mp4,x,swap\n")
    (tmp_path / "faces_224").mkdir()
    bgr = np.zeros((50, 70, 3), np.uint8)
    bgr[..., 0] = 200
    cv2.imwrite(str(tmp_path / "faces_224" / "a.png"), bgr)
    (still,) = open_stills(tmp_path, read_stills(tmp_path, "x").items)
    assert still.rgb.shape == (50, 70, 3)
    assert tuple(still.rgb[0, 0]) == (0, 0, 200)
    assert still.item.manipulation == "swap"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no deepfake-faces set"),
        ("name,label\na,REAL\n", "lacks the column videoname"),
        ("videoname,label,original,split\na,REAL,,val\n", "no split 'test'"),
        ("videoname,label,original,split\na,MAYBE,,test\n", "a label is 'MAYBE'"),
    ],
)
def test_what_is_wrong_with_a_set_is_said(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_stills(tmp_path, "test")


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_damaged_picture_is_left_out_and_told_and_the_others_are_measured(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_set(tmp_path, rows_of(2, "val", "a"), zipped=False)
    (root / "faces_224" / "a0r.jpg").write_bytes(content)
    found = read_stills(root, "val")
    assert len(list(open_stills(root, found.items))) == len(found.items) - 1
    assert "picture of a0r is damaged" in caplog.text


def test_a_damaged_zip_is_named(tmp_path: Path) -> None:
    root = write_set(tmp_path, rows_of(2, "val", "a"), zipped=False)
    (root / "faces_224-b.zip").write_bytes(b"no zip")
    with pytest.raises(TrainingError, match=r"b\.zip is damaged"):
        list(open_stills(root, read_stills(root, "val").items))


@pytest.mark.parametrize("beside", [False, True])
def test_without_a_split_column_the_published_split_follows_from_the_parts(tmp_path: Path, beside: bool) -> None:
    parts = {"a.mp4": 3, "b.mp4": 36, "c.mp4": 44}
    column = "" if beside else ",part"
    lines = [f"{name},REAL," + ("" if beside else f",{part}") for name, part in parts.items()]
    (tmp_path / "metadata.csv").write_text("\n".join([f"videoname,label,original{column}", *lines]))
    if beside:
        rows = [f"{Path(name).stem},{part}" for name, part in parts.items()]
        (tmp_path / "parts.csv").write_text("\n".join(["vid,part", *rows]))
    for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
        assert [item.name for item in read_stills(tmp_path, split).items] == [name]


def test_a_sample_is_the_same_each_time_and_in_order() -> None:
    items = tuple(range(50))
    assert sample(items, 0) == items
    assert sample(items, 60) == items
    assert sample(items, 7) == sample(items, 7) == tuple(sorted(sample(items, 7)))
    assert len(sample(items, 7)) == 7
