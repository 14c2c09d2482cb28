from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from stream.cli import main
from stream.errors import UsageError
from stream.evidence.folders import FolderBeingWritten, folder_name
from stream.evidence.purge import purge
from stream.evidence.retention import DAY_S, Wish
from tests.stream.evidence.evidence_parts import Records
from tests.stream.evidence.logs import opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Evidence of two streams, of today and of forty days ago, beside something else."""
    root = tmp_path / "kept"
    root.mkdir()
    (root / "log").mkdir()
    for stream in ("lobby", "gate"):
        for days, alert in ((0, "1f3a9c07"), (40, "2b4c6d8e")):
            at = time.time() - days * DAY_S
            into = FolderBeingWritten(root, folder_name(at, stream, alert))
            into.write("snapshot.jpg", "snapshot", bytes(2**19))
            into.finish({"alert": {"id": f"{alert}-{stream}"}})
    return root


def left(root: Path) -> list[str]:
    return sorted(path.name.split("-", 1)[1] for path in root.iterdir() if "-" in path.name)


def test_it_says_what_it_deleted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "--stream", "lobby", "--older-than", "30", "--folder", str(root)]) == 0
    first, total = capsys.readouterr().out.splitlines()
    assert first.startswith("deleted ")
    assert first.endswith("-lobby-2b4c6d8e (0.5 MiB)")
    assert total == "deleted the evidence of 1 alert, 0.5 MiB"
    assert left(root) == ["gate-1f3a9c07", "gate-2b4c6d8e", "lobby-1f3a9c07"]


def test_it_says_when_the_log_is_another_s_to_write(
    root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (root / "log").rmdir()
    key, file = tmp_path / "keys" / "log.pem", tmp_path / "unmask.yaml"
    file.write_text(f"evidence: {{folder: {root}, key: {key}}}\n")
    with closing(opened(root, key)):
        assert main(["purge", "--stream", "lobby", "--config", str(file)]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith(f"the log in {root / 'log'} does not say so yet")
        assert main(["purge", "--stream", "nobody", "--config", str(file)]) == 0
        assert capsys.readouterr().out == "deleted the evidence of 0 alerts, 0.0 MiB\n"


def test_it_says_no_more_when_the_log_tells_already(
    root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (root / "log").rmdir()
    key, file = tmp_path / "keys" / "log.pem", tmp_path / "unmask.yaml"
    opened(root, key).close()
    file.write_text(f"evidence: {{folder: {root}, key: {key}}}\n")
    assert main(["purge", "--stream", "lobby", "--config", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("deleted the evidence of 2 alerts")


@pytest.mark.parametrize("days", ["x", "0", "-1", "inf", "nan"])
def test_an_age_that_is_none_is_told_in_plain_words(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["purge", f"--older-than={days}", "--folder", "kept"])
    assert f"--older-than: {days} is no number above 0" in capsys.readouterr().err


def test_a_rehearsal_deletes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "--all", "--dry-run", "--folder", str(root)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "would delete the evidence of 4 alerts, 2.0 MiB"
    assert len(left(root)) == 4


def test_all_is_all_evidence_and_nothing_else(root: Path) -> None:
    assert main(["purge", "--all", "--folder", str(root)]) == 0
    assert [path.name for path in root.iterdir()] == ["log"]


def test_an_alert_is_found_by_its_id(root: Path) -> None:
    assert main(["purge", "--alert", "1f3a9c07-gate", "--folder", str(root)]) == 0
    assert left(root) == ["gate-2b4c6d8e", "lobby-1f3a9c07", "lobby-2b4c6d8e"]


def test_the_folder_is_found_through_the_configuration(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "unmask.yaml"
    file.write_text(f"evidence: {{folder: {root}, keep_bytes: 1GiB}}\n")
    assert main(["purge", "--stream", "gate", "--config", str(file)]) == 0
    assert left(root) == ["lobby-1f3a9c07", "lobby-2b4c6d8e"]


def test_each_deletion_is_recorded(root: Path) -> None:
    records = Records()
    purge(root, Wish(stream="gate"), time.time(), records)
    assert [(kind, entry["alert"], entry["why"]) for kind, entry in records] == [
        ("purge", "2b4c6d8e-gate", "asked for"),
        ("purge", "1f3a9c07-gate", "asked for"),
    ]


@pytest.mark.parametrize(
    ("wish", "words"),
    [(Wish(), "name what to delete"), (Wish(stream="gate", takes_all=True), "leave out the other choices")],
)
def test_a_wish_that_is_none_or_two_is_refused(root: Path, wish: Wish, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        purge(root, wish, time.time(), Records())
    assert len(left(root)) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("streams: []\n", "keeps no evidence: set"),
        ("evidence: {folder: gone}\n", "there is no evidence"),
    ],
)
def test_a_configuration_without_evidence_is_told_in_one_line(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unmask.yaml").write_text(text)
    assert main(["purge", "--all", "--config", str(tmp_path / "unmask.yaml")]) == 2
    assert words in capsys.readouterr().err
