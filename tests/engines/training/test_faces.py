"""Reading the data set: both layouts, and no leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.training.errors import TrainingError
from engines.training.faces import open_faces, read_faces
from tests.engines.training.faces_on_disk import rows_of, write_set

ROWS = [*rows_of(3, "train", "a"), *rows_of(2, "val", "b")]


def test_zips_and_folders_hold_the_same_faces(tmp_path: Path) -> None:
    zipped = open_faces(write_set(tmp_path / "z", ROWS, zipped=True), tmp_path / "zs")
    folder = open_faces(write_set(tmp_path / "f", ROWS, zipped=False), tmp_path / "fs")
    one, other = ({face.name: row for row, face in enumerate(each.faces)} for each in (zipped, folder))
    assert one.keys() == other.keys()
    assert all(np.array_equal(zipped.pixels[one[name]], folder.pixels[other[name]]) for name in one)


def test_a_face_knows_its_source_its_label_and_its_split(tmp_path: Path) -> None:
    faces = {face.name: face for face in read_faces(write_set(tmp_path, ROWS, zipped=False))}
    assert (faces["a0r"].source, faces["a0r"].is_fake, faces["a0r"].split) == ("a0r", False, "train")
    assert (faces["b1f0"].source, faces["b1f0"].is_fake, faces["b1f0"].split) == ("b1r", True, "val")


def test_pictures_are_decoded_once_and_in_rgb(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ROWS, zipped=False)
    first = open_faces(root, tmp_path / "scratch")
    decoded_at = (tmp_path / "scratch" / "faces.npy").stat().st_mtime_ns
    again = open_faces(root, tmp_path / "scratch")
    assert (tmp_path / "scratch" / "faces.npy").stat().st_mtime_ns == decoded_at
    assert again.faces == first.faces
    assert np.array_equal(again.pixels, first.pixels)
    assert first.pixels.shape == (15, 224, 224, 3)


def test_splits_and_labels_are_rows_and_ones(tmp_path: Path) -> None:
    faces = open_faces(write_set(tmp_path, ROWS, zipped=True), tmp_path / "scratch")
    val = faces.subset(faces.rows("val"))
    assert len(val.faces) == 6
    assert val.labels.sum() == 4
    assert set(faces.rows("train")).isdisjoint(faces.rows("val"))
    assert len(faces.rows("test")) == 0


def test_a_source_in_two_splits_is_refused_with_a_count(tmp_path: Path) -> None:
    leaking = [*ROWS, ("c.mp4", "FAKE", "a0r.mp4", "val")]
    with pytest.raises(TrainingError, match="4 pictures leak: 1 sources"):
        read_faces(write_set(tmp_path, leaking, zipped=False))


def test_a_folder_without_the_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="give its folder"):
        read_faces(tmp_path)


def test_a_table_without_pictures_says_what_was_expected(tmp_path: Path) -> None:
    write_set(tmp_path / "set", [], zipped=False)
    with pytest.raises(TrainingError, match=r"expected faces_224/ or faces_224\*\.zip"):
        open_faces(tmp_path / "set", tmp_path / "scratch")


def test_a_damaged_picture_stops_the_decoding_and_leaves_no_half_set(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ROWS, zipped=False)
    (root / "faces_224" / "a0r.jpg").write_bytes(b"not a picture")
    with pytest.raises(TrainingError, match="cannot be decoded"):
        open_faces(root, tmp_path / "scratch")
    assert not (tmp_path / "scratch" / "faces.txt").exists()


def test_a_leak_is_let_through_when_it_is_forced(tmp_path: Path) -> None:
    leaking = [*ROWS, ("c.mp4", "FAKE", "a0r.mp4", "val")]
    assert len(read_faces(write_set(tmp_path, leaking, zipped=False), force_leaky_split=True)) == len(leaking)


def test_a_table_without_splits_says_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("videoname,label,original\na.mp4,REAL,\n")
    with pytest.raises(TrainingError, match=r"put parts\.csv\.gz beside it"):
        read_faces(tmp_path)


def test_pictures_decoded_for_a_larger_table_are_decoded_anew(tmp_path: Path) -> None:
    root, scratch = write_set(tmp_path / "set", ROWS, zipped=False), tmp_path / "scratch"
    open_faces(root, scratch)
    (root / "metadata.csv").write_text("videoname,label,original,split\na0r.mp4,REAL,,train\n")
    assert [face.name for face in open_faces(root, scratch).faces] == ["a0r"]


def test_pictures_that_came_later_are_decoded_too(tmp_path: Path) -> None:
    root, scratch = write_set(tmp_path / "set", ROWS, zipped=False), tmp_path / "scratch"
    late = root / "faces_224" / "a0r.jpg"
    content = late.read_bytes()
    late.unlink()
    assert len(open_faces(root, scratch).faces) == len(ROWS) - 1
    late.write_bytes(content)
    assert len(open_faces(root, scratch).faces) == len(ROWS)


def test_pictures_that_lie_unpacked_beside_their_zip_are_taken_once(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ROWS, zipped=False)
    write_set(root, ROWS, zipped=True)
    assert len(open_faces(root, tmp_path / "scratch").faces) == len(ROWS)
