from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.errors import OutputError
from stream.evidence import folders
from stream.evidence.folders import (
    MANIFEST,
    FolderBeingWritten,
    alert_id_in,
    folder_name,
    kept,
    open_root,
    read_manifest,
    remove,
    time_of,
    unfinished,
)
from stream.evidence.retention import stream_of

AT = 1_795_000_000.0


@pytest.mark.parametrize("stream", ["lobby", "gate-2", "a.b_c", "x"])
@pytest.mark.parametrize(("alert", "short"), [("1f3a9c07d5e8", "1f3a9c07"), ("a-b/../c", "abc"), ("…", "alert")])
def test_a_folders_name_says_when_where_and_which(stream: str, alert: str, short: str) -> None:
    name = folder_name(AT + 0.4, stream, alert)
    assert name == f"20261118T110640Z-{stream}-{short}"
    assert time_of(name) == AT
    assert (stream_of(name), stream_of(f"{name}.2")) == (stream, stream)


@pytest.mark.parametrize(
    "name", ["log", "20261118T090640Z", "20269918T090640Z-a-1", ".writing-20261118T090640Z-a-1", ""]
)
def test_what_is_not_evidence_has_no_time(name: str) -> None:
    assert time_of(name) is None


def written(root: Path, name: str, size: int = 10) -> str:
    into = FolderBeingWritten(root, name)
    into.write("a.jpg", "snapshot", bytes(size))
    return into.finish({"files": [file.as_json() for file in into.files]})


def test_a_folder_has_its_name_only_once_it_is_whole(tmp_path: Path) -> None:
    into = FolderBeingWritten(tmp_path, "20261118T090640Z-a-1")
    into.write("a.jpg", "snapshot", b"abc")
    assert kept(tmp_path) == []
    digest = into.finish({"x": "ü"})
    [folder] = kept(tmp_path)
    path = tmp_path / folder.name
    assert digest == hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    assert json.loads((path / MANIFEST).read_bytes()) == {"x": "ü"}
    assert folder.size == 3 + (path / MANIFEST).stat().st_size
    assert [(file.name, file.bytes) for file in into.files] == [("a.jpg", 3)]


def test_what_is_abandoned_is_gone(tmp_path: Path) -> None:
    into = FolderBeingWritten(tmp_path, "20261118T090640Z-a-1")
    into.write("a.jpg", "snapshot", b"abc")
    into.abandon()
    assert list(tmp_path.iterdir()) == []


def test_folders_are_listed_oldest_first_and_others_left_out(tmp_path: Path) -> None:
    for name in ("20261118T090640Z-b-1", "20261117T090640Z-z-1", "20261118T090640Z-a-1"):
        written(tmp_path, name)
    (tmp_path / "log").mkdir()
    (tmp_path / "20261116T090640Z-a-1").symlink_to(tmp_path / "log")
    (tmp_path / "20261116T090640Z-a-2").touch()
    names = [folder.name for folder in kept(tmp_path)]
    assert names == ["20261117T090640Z-z-1", "20261118T090640Z-a-1", "20261118T090640Z-b-1"]
    assert kept(tmp_path / "nowhere") == []


def test_a_folder_that_goes_while_it_is_looked_at_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep and a purge at once: neither fails for the other."""
    for name in ("20261117T090640Z-a-1", "20261118T090640Z-a-1"):
        written(tmp_path, name)
    sizes = folders._sizes

    def raced(folder: Path) -> Iterator[int]:
        if "20261117" in folder.name and folder.exists():
            remove(tmp_path, folder.name)
        return sizes(folder)

    monkeypatch.setattr(folders, "_sizes", raced)
    assert [folder.name for folder in kept(tmp_path)] == ["20261118T090640Z-a-1"]


def test_a_folder_that_was_taken_away_is_never_finished(tmp_path: Path) -> None:
    into = FolderBeingWritten(tmp_path, "20261118T090640Z-a-1", "whole-id")
    [folder] = unfinished(tmp_path)
    assert (folder.name, folder.is_whole, alert_id_in(tmp_path, folder.name)) == (into.name, False, "whole-id")
    assert not into.was_taken_away
    remove(tmp_path, into.path.name)
    assert into.was_taken_away
    with pytest.raises(FileNotFoundError):
        into.finish({})
    assert list(tmp_path.iterdir()) == []


def test_removing_takes_the_folder_and_follows_no_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    root = tmp_path / "kept"
    root.mkdir()
    written(root, "20261118T090640Z-a-1")
    (root / "20261118T090640Z-a-1" / "link").symlink_to(elsewhere)
    remove(root, "20261118T090640Z-a-1")
    assert list(root.iterdir()) == []
    assert (elsewhere / "precious").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_manifest_that_is_none_is_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    assert read_manifest(tmp_path) == read_manifest(tmp_path / "nowhere") == {}


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        OutputError, match=r"^evidence cannot be kept in .*/file/x \(.*\): name another evidence.folder$"
    ):
        open_root(tmp_path / "file" / "x")


def test_a_folder_that_may_not_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no permission to write"):
        open_root(tmp_path)
