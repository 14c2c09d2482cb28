"""A command that works, fails, hangs, floods, and leaves others behind."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from stream.alerts.message import json_of
from stream.alerts.sender import NotSentError, RefusedError
from stream.alerts.senders.command import SHOWN_BYTES, CommandSender
from tests.stream.alerts.alert_parts import ALERT
from tests.stream.alerts.receivers import wait_until


def python(program: str, *words: str | Path, timeout_s: float = 20.0, **more: object) -> CommandSender:
    return CommandSender([sys.executable, "-c", program, *map(str, words)], timeout_s=timeout_s, **more)  # type: ignore[arg-type]


def test_a_command_gets_the_alert_on_its_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "got.json"
    python("import sys; open(sys.argv[1], 'w').write(sys.stdin.read())", file).send(ALERT)
    assert json.loads(file.read_text()) == json_of(ALERT)


def test_no_shell_looks_at_its_arguments(tmp_path: Path) -> None:
    file = tmp_path / "argument"
    word = "$(touch pwned); `id` > x & *"
    python("import sys; open(sys.argv[1], 'w').write(sys.argv[2])", file, word).send(ALERT)
    assert file.read_text() == word


def test_the_cameras_passwords_are_not_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    given = {"PATH": os.environ["PATH"], "CAMERA_PASSWORD": "s3cret", "PAGER_KEY": "wanted"}
    program = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    python(program, file, env=["PAGER_KEY"], environment=given).send(ALERT)
    seen = json.loads(file.read_text())
    assert (seen["PAGER_KEY"], seen["UNMASK_ALERT"]) == ("wanted", "a1-firing")
    assert "CAMERA_PASSWORD" not in seen


def test_a_command_that_reads_nothing_is_fine() -> None:
    python("import sys; sys.stdin.close()").send(ALERT)
    CommandSender(["/bin/true"]).send(ALERT)


@pytest.mark.parametrize(
    ("code", "kind"), [(1, NotSentError), (75, NotSentError), (127, NotSentError), (65, RefusedError)]
)
def test_its_exit_code_says_whether_to_try_again(code: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"with {code}: no way out") as caught:
        python(f"import sys; print('no way\\n  out'); sys.exit({code})").send(ALERT)
    assert "\n" not in str(caught.value)


def test_a_command_that_is_not_there_is_one_line() -> None:
    with pytest.raises(NotSentError, match=r"cannot be run \(No such file or directory\)"):
        CommandSender(["/nowhere/at/all"]).send(ALERT)


def test_a_flood_of_words_is_cut_and_fills_neither_memory_nor_pipe() -> None:
    with pytest.raises(NotSentError) as caught:
        python("import sys; sys.stdout.write('x' * 5_000_000); sys.exit(3)").send(ALERT)
    assert str(caught.value).count("x") <= SHOWN_BYTES


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


HANGS = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
HANGS += "open(sys.argv[1] + '.tmp', 'w').write(str(p.pid)); import os; os.rename(sys.argv[1] + '.tmp', sys.argv[1])\n"


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    file, began_s = tmp_path / "pid", time.monotonic()
    with pytest.raises(NotSentError, match=r"took more than 1\.5 s and was ended"):
        python(HANGS + "time.sleep(600)", file, timeout_s=1.5).send(ALERT)
    assert time.monotonic() - began_s < 60
    wait_until(file.exists, "the child's number")
    wait_until(lambda: not is_alive(int(file.read_text())), "the child's end")


def test_what_a_command_leaves_running_holds_up_nothing_and_ends_with_it(tmp_path: Path) -> None:
    file, began_s = tmp_path / "pid", time.monotonic()
    python(HANGS, file, timeout_s=100).send(ALERT)
    assert time.monotonic() - began_s < 90
    wait_until(lambda: not is_alive(int(file.read_text())), "the child's end")


def test_a_command_that_closes_its_output_and_goes_on_is_timed_too() -> None:
    with pytest.raises(NotSentError, match="took more than"):
        python("import os, time; os.close(1); os.close(2); time.sleep(600)", timeout_s=1.0).send(ALERT)


def test_nothing_is_left_open() -> None:
    python("pass").send(ALERT)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        python("print('hello')").send(ALERT)
    assert len(os.listdir("/proc/self/fd")) == before
