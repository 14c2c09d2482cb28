from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from engines.whole_file import PRIVATE, SUFFIX, replacing, write_whole

KILLED = """
import os, signal, sys
from pathlib import Path
from engines.whole_file import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"new")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_there_is_replaced_and_nothing_else_left(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    for content in (b"old", b"", b"new"):
        write_whole(path, content)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"spec.json": content}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    def fails() -> None:
        with replacing(path) as file:
            file.write(b"half of the n")
            raise error

    path = tmp_path / "state"
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        fails()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"state": b"old"}


def test_a_disk_that_is_full_at_the_end_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "state"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"state": b"old"}


def test_a_killed_writer_leaves_what_was_there_and_a_hidden_rest(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    (rest,) = (file.name for file in tmp_path.iterdir() if file != path)
    assert path.read_bytes() == b"old"
    assert (rest[0], rest[-len(SUFFIX) :]) == (".", SUFFIX)


def test_it_is_on_the_disk_before_it_has_its_name_and_so_is_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced, sync = tmp_path / "state", [], os.fsync

    def told(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), os.fstat(descriptor).st_size * (not path.exists())))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", told)
    write_whole(path, b"new")
    assert synced == [(False, 3), (True, 0)]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_share_whose_folders_cannot_be_synced_is_no_failure_but_a_bad_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuses(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuses)
    with nullcontext() if number == errno.EINVAL else pytest.raises(OSError, match=os.strerror(number)):
        write_whole(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"new"


@pytest.mark.parametrize(("mode", "expected"), [(0o666, 0o644), (PRIVATE, 0o600)])
def test_its_mode_is_the_one_asked_for_whatever_it_was(tmp_path: Path, mode: int, expected: int) -> None:
    path = tmp_path / "users.yaml"
    path.write_bytes(b"")
    path.chmod(0o604)
    before = os.umask(0o022)
    try:
        write_whole(path, b"new", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == expected


def test_of_two_who_write_at_once_the_last_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with replacing(path) as first:
        first.write(b"first")
        other = threading.Thread(target=write_whole, args=(path, b"other"))
        other.start()
        other.join()
        assert path.read_bytes() == b"other"
    assert path.read_bytes() == b"first"


def test_a_zip_can_be_written_into_it(tmp_path: Path) -> None:
    path = tmp_path / "video.zip"
    with replacing(path) as file, zipfile.ZipFile(file, "w") as packed:
        packed.writestr("a", b"x" * 100)
    with zipfile.ZipFile(path) as packed:
        assert packed.read("a") == b"x" * 100
