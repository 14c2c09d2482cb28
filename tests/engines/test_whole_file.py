from __future__ import annotations

import errno
import os
import secrets
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from engines.whole_file import PRIVATE, STALE_S, SUFFIX, replacing, write_whole

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


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EIO])
def test_a_share_whose_folders_cannot_be_synced_is_no_failure_but_a_bad_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuses(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuses)
    with nullcontext() if number != errno.EIO else pytest.raises(OSError, match=os.strerror(number)):
        write_whole(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
def test_a_folder_that_may_be_written_but_not_listed_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuses(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(number, os.strerror(number))
        return opened(path, flags, mode)

    opened = os.open
    monkeypatch.setattr(os, "open", refuses)
    with nullcontext() if number == errno.EACCES else pytest.raises(OSError, match=os.strerror(number)):
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


def known_token(monkeypatch: pytest.MonkeyPatch) -> str:
    """What is to be chance is this."""
    token = "0123456789abcdef"
    monkeypatch.setattr(secrets, "token_hex", lambda _: token)
    return token


def test_no_two_files_are_written_under_one_name(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with replacing(path) as first, replacing(path) as second:  # as by two processes of one number, in two containers
        first.write(b"first")
        second.write(b"second")
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_bytes() == b"first"


def test_a_link_that_was_planted_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, precious = tmp_path / "users.yaml", tmp_path / "precious"
    precious.write_bytes(b"precious")
    planted = tmp_path / f".users.yaml.{known_token(monkeypatch)}{SUFFIX}"
    planted.symlink_to(precious)
    with pytest.raises(FileExistsError):
        write_whole(path, b"new", PRIVATE)
    assert (precious.read_bytes(), planted.is_symlink(), path.exists()) == (b"precious", True, False)


def test_the_mode_of_a_left_over_does_not_come_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / f".users.yaml.{known_token(monkeypatch)}{SUFFIX}"
    left.write_bytes(b"rest")
    left.chmod(0o666)
    os.utime(left, (0, 0))
    write_whole(tmp_path / "users.yaml", b"new", PRIVATE)
    assert [(file.name, stat.S_IMODE(file.stat().st_mode)) for file in tmp_path.iterdir()] == [("users.yaml", PRIVATE)]


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "名" * 85], ids=["1 byte", "2 bytes", "3 bytes"])
def test_the_longest_name_can_be_written(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(name, b"new")]


def test_only_old_rests_of_the_same_path_are_cleared(tmp_path: Path) -> None:
    now, token = time.time(), "0123456789abcdef"
    ages = {f".state.{token}{SUFFIX}": 2, f".state.f{token[1:]}{SUFFIX}": 0.5, f".state.mine{SUFFIX}": 2}
    ages |= {f".other.{token}{SUFFIX}": 2, f"state.{token}{SUFFIX}": 2}
    for name, hours in ages.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now - hours * STALE_S,) * 2)
    write_whole(tmp_path / "state", b"new")
    assert {file.name for file in tmp_path.iterdir()} == {"state", *list(ages)[1:]}


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
