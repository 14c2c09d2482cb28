"""``unmask config check`` refuses what a watch would: files and folders that a configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from stream.cli import main
from stream.config import check
from stream.web.users import changed_user

PASSWORD = "correct horse battery"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A users file, a certificate with its key, and a folder for the configuration."""
    changed_user(tmp_path / "users.yaml", "ann", "admin", password=PASSWORD)
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "c.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "k.pem")
    (tmp_path / "letter").write_text("Dear Sir or Madam,")
    (tmp_path / "nobody.yaml").touch(mode=0o600)
    return tmp_path


def file_of(place: Path, web: str, evidence: str = "") -> Path:
    """Its keys with ``@`` for the folder: ``web`` on line 3, ``evidence`` on line 4."""
    text = f"streams: [{{source: test}}]\n\nweb: {{{web}}}\nevidence: {{{evidence}}}\n"
    path = place / "unmask.yaml"
    path.write_text(text.replace("@", f"{place}/"))
    return path


GOOD = "users: @users.yaml, tls: {certificate: @c.pem, key: @k.pem}"


@pytest.mark.parametrize("evidence", ["", "folder: @kept", "folder: @new/and/deep", "folder: @."])
def test_what_is_there_is_good_and_nothing_is_left_behind(
    place: Path, evidence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(place, f"enabled: true, {GOOD}", evidence)
    before = sorted(place.rglob("*"))
    assert main(["config", "check", str(path)]) == 0, capsys.readouterr().err
    assert sorted(place.rglob("*")) == before
    assert f"page: https://127.0.0.1:8080/ (users {place / 'users.yaml'}, TLS)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("web", "evidence", "line", "words"),
    [
        ("enabled: true, users: @none.yaml", "", 3, "No such file or directory): write it with `unmask web user NAME"),
        ("users: @none.yaml", "", 3, "write it with `unmask web user NAME"),
        ("enabled: true, users: @nobody.yaml", "", 3, "names no user"),
        ("enabled: true, tls: {certificate: @none.pem, key: @k.pem}", "", 3, "web.tls: "),
        ("enabled: true, tls: {certificate: @letter, key: @k.pem}", "", 3, "give a PEM certificate"),
        ("", "folder: /proc/x/y", 4, "evidence cannot be kept in /proc/x/y"),
        ("", "folder: @letter/kept", 4, "(Not a directory): name another evidence.folder"),
        ("", "folder: @letter", 4, "(Not a directory): name another evidence.folder"),
    ],
)
def test_what_a_watch_would_refuse_is_told_with_its_line(
    place: Path, web: str, evidence: str, line: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(place, web, evidence)
    assert main(["config", "check", str(path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (problem,) = told.err.splitlines()
    assert problem.startswith(f"unmask: {path}:{line}: ")
    assert words in problem


def test_all_of_it_is_told_at_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(place, "users: @none.yaml, tls: {certificate: @none, key: @k.pem}", "folder: /proc/x/y")
    assert main(["config", "check", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize(
    ("web", "line"),
    [
        ("", "page: off (watch --web turns it on)"),
        ("enabled: true", "page: http://127.0.0.1:8080/ (anybody on this machine)"),
        ("enabled: true, host: '::1', port: 9000", "page: http://[::1]:9000/ (anybody on this machine)"),
        ("enabled: true, users: u.yaml", "page: http://127.0.0.1:8080/ (users u.yaml)"),
    ],
)
def test_a_check_says_where_the_page_is_and_for_whom(place: Path, web: str, line: str) -> None:
    assert line in check(file_of(place, web))
