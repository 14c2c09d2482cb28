"""The command line: help that reads well, one line per error, documented exit codes."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stream import commands
from stream.cli import COMMANDS, _log_handler, main
from stream.errors import MissingPartError, ModelError, OutputError, SourceError, UnmaskError, UsageError
from stream.release import release

SHARED = {"arguments", "signals", "terminal"}
"""What commands have in common."""


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys=capsys)
    assert all(command in text for command in ("watch", "score", "import", "models", "demo", "doctor", "config"))
    for error in (UsageError, ModelError, SourceError, OutputError, MissingPartError):
        assert f" {error.exit_code}  " in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert (left.value.code, capsys.readouterr().out) == (0, f"unmask {release()}\n")


def test_every_command_is_a_module_of_its_own() -> None:
    modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")}
    assert {add.__module__.rpartition(".")[2] for add in COMMANDS} == modules - {"__init__", *SHARED}


def test_exit_codes_are_all_different() -> None:
    kinds = UnmaskError.__subclasses__()
    assert len({kind.exit_code for kind in kinds}) == len(kinds)


def test_watch_help_names_every_kind_of_source(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("watch", capsys=capsys)
    assert all(source in text for source in ("webcam:1", "/dev/video0", "rtsps://", ".m3u8", "screen", "csi:0", "test"))


def test_watch_help_says_what_no_threads_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert "(default 0: half the cores)" in " ".join(help_of("watch", capsys=capsys).split())


def test_help_loads_neither_gstreamer_nor_a_runtime() -> None:
    code = "import sys; from stream.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    check = "print([name for name in ('gi', 'onnxruntime', 'cv2', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


class _Stderr(io.StringIO):
    """Standard error, of a terminal or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_log_stays_above_a_live_table_and_in_the_file_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    first, now = _Stderr(is_terminal=is_terminal), _Stderr(is_terminal=True)
    monkeypatch.setattr(sys, "stderr", first)
    handler = _log_handler()
    monkeypatch.setattr(sys, "stderr", now)  # as a live table does
    handler.handle(logging.makeLogRecord({"msg": "alert firing"}))
    assert (first.getvalue(), now.getvalue()) == (("", "alert firing\n") if is_terminal else ("alert firing\n", ""))


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["watch"], 2, "nothing to watch"),
        (["watch", "gopher://x"], 2, "gopher"),
        (["watch", "test", "--model", "nonsense"], 3, "use one of lite0-gru"),
        (["watch", "/nowhere/clip.mp4", "--metrics-port", "0"], 4, "/nowhere/clip.mp4"),
        (["score", "/nowhere/clip.mp4"], 4, "/nowhere/clip.mp4"),
        (["import", "/nowhere/model.keras", "--as", "xception"], 3, "/nowhere/model.keras"),
        (["import", "/nowhere/model.keras", "--as", "nonsense"], 3, "use one of"),
        (["config", "check", "/nowhere/house.yaml"], 2, "/nowhere/house.yaml"),
    ],
)
def test_a_bad_request_is_one_line_and_its_exit_code(
    words: list[str], code: int, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("unmask: ")
    assert part in error
    assert "\n" not in error


def test_a_config_with_a_typo_names_the_known_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "house.yaml"
    path.write_text("streams:\n  - {sauce: webcam}\n")
    assert main(["config", "check", str(path)]) == 2
    error = capsys.readouterr().err
    assert "sauce" in error
    assert "source" in error


def test_a_good_config_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "house.yaml"
    path.write_text("streams:\n  - {name: door, source: 'rtsp://ann:s3cr3t@127.0.0.1/a'}\n")
    assert main(["config", "check", str(path)]) == 0
    text = capsys.readouterr().out
    assert "door" in text
    assert "s3cr3t" not in text


def test_without_gstreamers_bindings_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['gi'] = None; from stream.cli import main; sys.exit(main(['watch', 'test']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == MissingPartError.exit_code
    assert "apt-get install python3-gi python3-gst-1.0" in done.stderr


def test_an_answer_that_is_read_only_in_part_ends_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("streams: [{source: test}]\n")
    code = f"import sys; from stream.cli import main; sys.exit(main(['config', 'check', {str(tmp_path / 'c.yaml')!r}]))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        done = subprocess.run([sys.executable, "-c", code], stdout=nobody, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
