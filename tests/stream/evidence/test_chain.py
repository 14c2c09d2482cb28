"""The log: what it writes, what it survives, whom it refuses."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.errors import OutputError
from stream.evidence import chain
from stream.evidence.chain import ChainLimits, ChainLog, handed_in, log_files, open_record
from stream.evidence.chain_line import LOG_FOLDER, LogLine, line_from
from stream.evidence.verify import verify
from tests.stream.evidence.logs import lines_of, opened, written


def kinds(folder: Path) -> list[str]:
    return [line_from(text[:-1]).kind for text in lines_of(log_files(folder / LOG_FOLDER))]


def test_a_line_says_what_happened_when_and_after_which(tmp_path: Path) -> None:
    files = written(tmp_path, 2)
    lines = [json.loads(line) for line in lines_of(files)]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["kind"] for line in lines] == ["log", "signature", "note", "note", "signature"]
    assert [line["previous"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    assert lines[3]["record"] == {"number": 1, "text": "grüße"}
    assert abs(lines[3]["at"] - time.time()) < 60
    assert lines[0]["since_s"] is None
    assert lines[3]["since_s"] >= 0


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    for _ in range(3):
        written(tmp_path, 2)
    report = verify(tmp_path)
    assert report.is_intact
    assert (report.lines, report.unsigned) == (2 + 3 * 3, 0)


def test_a_full_file_is_followed_by_the_next_and_the_chain_goes_on(tmp_path: Path) -> None:
    files = written(tmp_path, 60, file_bytes=2000)
    assert [path.name for path in files][:2] == ["log-000001.jsonl", "log-000002.jsonl"]
    assert len(files) > 5
    assert all(path.stat().st_size <= 2000 for path in files)
    assert verify(tmp_path).is_intact
    assert len(written(tmp_path, 20, file_bytes=2000)) > len(files)
    assert verify(tmp_path).is_intact


def test_lines_are_signed_when_enough_wait(tmp_path: Path) -> None:
    log = opened(tmp_path, sign_lines=3)
    for number in range(7):
        log.append("note", {"number": number})
    assert kinds(tmp_path) == ["log", "signature", *["note"] * 3, "signature", *["note"] * 3, "signature", "note"]
    assert verify(tmp_path).unsigned == 1
    log.close()


def test_a_line_that_waits_too_long_is_signed(tmp_path: Path) -> None:
    log = opened(tmp_path, sign_s=0.05)
    log.append("note", {})
    deadline = time.monotonic() + 20
    while verify(tmp_path).unsigned and time.monotonic() < deadline:
        time.sleep(0.02)
    assert verify(tmp_path).unsigned == 0
    log.close()


def test_lines_from_many_threads_make_one_chain(tmp_path: Path) -> None:
    log = opened(tmp_path, file_bytes=4000, sign_lines=5)

    def write(name: int) -> None:
        for number in range(20):
            log.append("note", {"from": name, "number": number})

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert verify(tmp_path).is_intact
    assert kinds(tmp_path).count("note") == 80


def test_a_second_process_on_one_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    log = opened(tmp_path)
    with pytest.raises(OutputError, match=r"another process writes the log in .*: give each its own evidence\.folder"):
        opened(tmp_path)
    log.close()
    opened(tmp_path).close()


def test_the_key_is_its_owners_alone_and_the_public_one_lies_beside_the_log(tmp_path: Path) -> None:
    written(tmp_path)
    key = tmp_path.parent / "keys" / "log.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"PUBLIC KEY" in (tmp_path / LOG_FOLDER / "public-key.pem").read_bytes()
    key.chmod(0o640)
    with pytest.raises(OutputError, match="chmod 600"):
        opened(tmp_path)
    key.chmod(0o600)


def test_another_key_may_not_go_on_with_the_log(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(OutputError, match=r"another key's"):
        opened(tmp_path, tmp_path.parent / "keys" / "other.pem")
    assert verify(tmp_path).is_intact


@pytest.mark.parametrize("content", [b"", b"no key", b"\x00" * 64])
def test_what_is_no_key_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    key = tmp_path / "bad.pem"
    key.write_bytes(content)
    key.chmod(0o600)
    with pytest.raises(OutputError, match=r"holds no Ed25519 key") as caught:
        opened(tmp_path / "evidence", key)
    assert "\n" not in str(caught.value)


def test_a_closed_log_takes_nothing_more(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.close()
    log.close()
    with pytest.raises(OutputError, match="closed"):
        log.append("note", {})


@pytest.mark.parametrize("record", [{"x": float("nan")}, {"x": object()}, {"x": "y" * (1 << 20)}])
def test_what_cannot_be_a_line_is_refused_and_leaves_the_log_whole(tmp_path: Path, record: dict[str, object]) -> None:
    log = opened(tmp_path)
    with pytest.raises(OutputError, match="note record"):
        log.append("note", record)  # type: ignore[arg-type]  # that is the point
    log.append("note", {"x": 1})
    log.close()
    assert verify(tmp_path).is_intact


def test_a_full_disk_leaves_whole_lines_and_the_log_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, text: write(file, text[:20]))
        with pytest.raises(OutputError, match="No space left"):
            log.append("note", {"lost": True})
    log.append("note", {"lost": False})
    log.close()
    assert verify(tmp_path).is_intact
    assert kinds(tmp_path).count("note") == 1


def torn(folder: Path, left: bytes) -> None:
    """As a process that dies in the middle of its last write leaves it."""
    with log_files(folder / LOG_FOLDER)[-1].open("ab") as file:
        file.write(left)


def test_a_torn_line_is_said_kept_and_closed_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, 2)
    torn(tmp_path, b'{"at":17')
    before = verify(tmp_path)
    assert before.is_intact
    assert "torn" in str(before.notes[0])
    written(tmp_path, 1)
    assert "torn" in caplog.text
    after = verify(tmp_path)
    assert after.is_intact
    assert after.torn == 1
    assert b'{"at":17\n' in lines_of(log_files(tmp_path / LOG_FOLDER))
    assert "torn" in kinds_but_torn(tmp_path)


def kinds_but_torn(folder: Path) -> list[str]:
    whole = [text for text in lines_of(log_files(folder / LOG_FOLDER)) if text.endswith(b"}\n")]
    return [line_from(text[:-1]).kind for text in whole]


def test_a_line_that_lacks_only_its_end_is_kept(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.append("note", {"kept": True})
    crashed = log_files(tmp_path / LOG_FOLDER)[-1]
    content = crashed.read_bytes()
    log.close()
    crashed.write_bytes(content[:-1])
    (tmp_path / LOG_FOLDER / "head.json").write_bytes(head_after(tmp_path, content))
    assert verify(tmp_path).is_intact
    written(tmp_path, 1)
    report = verify(tmp_path)
    assert report.is_intact
    assert report.torn == 0


def head_after(folder: Path, content: bytes) -> bytes:
    """The head as it was signed when the log ended with ``content``: at its second line."""
    from stream.evidence.chain_line import canonical, signed_text
    from stream.evidence.signing import open_key

    line: LogLine = line_from(content.splitlines()[1])
    signature = open_key(folder.parent / "keys" / "log.pem").sign(signed_text(line.seq, line.hash))
    return canonical({"seq": line.seq, "hash": line.hash, "signature": signature})


def test_cutting_signed_lines_is_told_for_good_though_the_log_goes_on(tmp_path: Path) -> None:
    (path,) = written(tmp_path, 6)
    lines = lines_of([path])
    path.write_bytes(b"".join(lines[:4]))
    written(tmp_path, 2)
    report = verify(tmp_path)
    assert not report.is_intact
    assert report.findings[0].where == "log-000001.jsonl:5"
    assert "signed lines up to 9 were gone before this start" in report.findings[0].what


WRITER = """
import sys
from pathlib import Path
from stream.evidence.chain import ChainLimits, ChainLog
log = ChainLog(Path(sys.argv[1]), Path(sys.argv[2]), ChainLimits(file_bytes=20000, sign_lines=7))
print("ready", flush=True)
number = 0
while True:
    log.append("note", {"number": number, "text": "x" * (number % 700)})
    print(number, flush=True)
    number += 1
"""


def test_kill_9_loses_nothing_that_was_written(tmp_path: Path) -> None:
    """What ``append`` returned from is there; the chain is whole, and the next process goes on with it."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / LOG_FOLDER), str(tmp_path.parent / "keys" / "log.pem")]
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        if process.stdout is None:
            raise OSError("no pipe")
        said = [process.stdout.readline().strip() for _ in range(30)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().split()
        process.wait()
        report = verify(tmp_path)
        assert report.is_intact, report.findings
        assert report.lines >= int(said[-1])
    opened(tmp_path).close()
    assert verify(tmp_path).is_intact


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        ChainLog(tmp_path / "file" / "log", tmp_path / "key.pem", ChainLimits())
    assert "\n" not in str(caught.value)


def test_a_command_writes_to_the_log_itself_when_nobody_holds_it(tmp_path: Path) -> None:
    written(tmp_path, 1)
    with open_record(tmp_path / LOG_FOLDER, tmp_path.parent / "keys" / "log.pem") as record:
        record("purge", {"folder": "door"})
    assert "purge" in kinds(tmp_path)
    assert verify(tmp_path).is_intact


def test_a_command_hands_in_what_a_running_watch_then_writes(tmp_path: Path) -> None:
    log = opened(tmp_path)
    with open_record(tmp_path / LOG_FOLDER, tmp_path.parent / "keys" / "log.pem") as record:
        record("purge", {"folder": "door-1"})
        record("purge", {"folder": "door-2"})
    deadline = time.monotonic() + 20
    while kinds(tmp_path).count("purge") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    log.close()
    assert kinds(tmp_path).count("purge") == 2
    assert list(handed_in(tmp_path / LOG_FOLDER)) == []
    assert verify(tmp_path).is_intact


def test_what_was_handed_in_and_cannot_be_deleted_is_written_once_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And whatever else goes wrong on the way, lines are signed again once it goes right."""
    monkeypatch.setattr(chain, "LOOK_S", 0.01)
    log, looks = opened(tmp_path, sign_s=0.02), list[Path]()

    def refuse(path: Path, **_: object) -> None:
        looks.append(path)
        raise PermissionError(13, "Permission denied")

    def fail(_: Path) -> Iterator[Any]:
        looks.append(Path())
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with open_record(tmp_path / LOG_FOLDER, tmp_path.parent / "keys" / "log.pem") as record:
            record("purge", {"folder": "door"})
        waited(lambda: len(looks) > 3)
        patch.setattr(chain, "handed_in", fail)
        looks.clear()
        waited(lambda: len(looks) > 3)
    waited(lambda: not list(handed_in(tmp_path / LOG_FOLDER)) and verify(tmp_path).unsigned == 0)
    log.close()
    assert kinds(tmp_path).count("purge") == 1
    assert caplog.text.count("cannot be deleted (Permission denied): delete it by hand") == 1
    assert caplog.text.count("in a way nobody foresaw; trying again") == 1
    assert verify(tmp_path).is_intact


def waited(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not until() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert until()


def test_a_next_file_that_cannot_be_opened_is_one_line_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path, file_bytes=600)
    log.append("note", {})

    def full(_: Path) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(chain, "_append_to", full)
        with pytest.raises(OutputError, match="Too many open files"):
            log.append("note", {"text": "x" * 500})
    log.append("note", {"text": "x" * 500})
    log.close()
    assert verify(tmp_path).is_intact


def test_without_a_log_a_command_begins_none(tmp_path: Path) -> None:
    with open_record(tmp_path / LOG_FOLDER, tmp_path / "keys" / "log.pem") as record:
        record("purge", {"folder": "door"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"[" * 9999, b'{"kind":"signature","record":{}}', b'{"kind":"purge","record":7}', b"\xff"]
)
def test_what_is_handed_in_and_no_purge_is_left_lying(tmp_path: Path, content: bytes) -> None:
    written(tmp_path, 1)
    (tmp_path / LOG_FOLDER / "handed-in").mkdir()
    (tmp_path / LOG_FOLDER / "handed-in" / "1-1.json").write_bytes(content)
    before = len(kinds(tmp_path))
    opened(tmp_path).close()
    assert len(kinds(tmp_path)) == before
    assert verify(tmp_path).is_intact
