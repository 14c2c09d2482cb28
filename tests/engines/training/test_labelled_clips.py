"""Labels come from a table, a name or a folder, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.training.errors import TrainingError
from engines.training.labelled_clips import find_clips


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("name", "is_fake", "manipulation"),
    [
        ("a_fake.mp4", True, ""),
        ("a_REAL.MP4", False, ""),
        ("deep/er/b-fake.mkv", True, ""),
        ("real/x.mp4", False, ""),
        ("Fake/Deepfakes/x.mp4", True, "Deepfakes"),
        ("fake/real/x.mp4", False, ""),
        ("fake/x_real.mp4", False, ""),
    ],
)
def test_a_name_or_a_folder_labels_a_clip(name: str, is_fake: bool, manipulation: str, tmp_path: Path) -> None:
    (clip,) = find_clips(folder_of(tmp_path, name)).clips
    assert (clip.item.name, clip.item.is_fake, clip.item.manipulation) == (name, is_fake, manipulation)
    assert clip.path == tmp_path / name


@pytest.mark.parametrize("column", ["file", "videoname", "filename"])
def test_a_table_wins_and_knows_source_and_manipulation(column: str, tmp_path: Path) -> None:
    folder_of(tmp_path, "sub/a_real.mp4", "b.mp4", "c.mp4")
    table = f"{column},label,original,manipulation\nsub/a_real.mp4,FAKE,b.mp4,swap\nb,0,,\n"
    (tmp_path / "labels.csv").write_text(table)
    found = find_clips(tmp_path)
    fake, real = (clip.item for clip in sorted(found.clips, key=lambda clip: not clip.item.is_fake))
    assert (fake.is_fake, fake.source, fake.manipulation) == (True, "b", "swap")
    assert (real.is_fake, real.source) == (False, "b")
    assert found.unlabelled == ("c.mp4",)


def test_what_is_no_video_is_left_alone(tmp_path: Path) -> None:
    found = find_clips(folder_of(tmp_path, "a_fake.mp4", "a_fake.txt", "notes_real.md"))
    assert [clip.item.name for clip in found.clips] == ["a_fake.mp4"]
    assert found.unlabelled == ()


@pytest.mark.parametrize(
    ("names", "table", "message"),
    [
        ((), None, "no labelled clip below"),
        (("a.mp4",), None, "no labelled clip below"),
        (("a.mp4",), "clip,truth\na.mp4,1\n", "no columns file and label"),
        (("a.mp4",), "file,label\na.mp4,perhaps\n", "a label is 'perhaps'"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(
    names: tuple[str, ...], table: str | None, message: str, tmp_path: Path
) -> None:
    folder_of(tmp_path, *names)
    if table is not None:
        (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(TrainingError, match=message):
        find_clips(tmp_path)
    with pytest.raises(TrainingError, match="no folder"):
        find_clips(tmp_path / "none")
