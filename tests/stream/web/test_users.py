"""Users: what their file holds and what it may not, and that a change of it counts at once."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from stream.cli import main
from stream.config_file import ConfigError
from stream.errors import OutputError, UsageError
from stream.web import users
from stream.web.users import Role, User, UserBook, changed_user, new_token, read_users, token_hash, write_users

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> User:
    return changed_user(tmp_path_factory.mktemp("users") / "users.yaml", "ann", "operator", password=PASSWORD)


@pytest.fixture
def file(tmp_path: Path, ann: User) -> Path:
    write_users(tmp_path / "users.yaml", [ann])
    return tmp_path / "users.yaml"


def test_the_file_holds_no_password_and_is_for_its_owner_only(file: Path) -> None:
    assert PASSWORD not in file.read_text()
    assert "$argon2id$" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_password_is_right_or_wrong(file: Path) -> None:
    book = UserBook(file)
    found = book.with_password("ann", PASSWORD)
    assert found is not None
    assert (found.name, found.role) == ("ann", Role.OPERATOR)
    assert book.with_password("ann", PASSWORD + "!") is None
    assert book.with_password("bob", PASSWORD) is None


def test_a_wrong_name_costs_as_much_as_a_wrong_password(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book, tried = UserBook(file), list[str]()
    monkeypatch.setattr(users, "_is_password", lambda known, _: bool(tried.append(known)))
    assert book.with_password("ann", "wrong") is None
    assert book.with_password("nobody", "wrong") is None
    assert len(tried) == 2
    assert all(known.startswith("$argon2id$") for known in tried)


def test_a_token_is_right_or_wrong_and_no_password(tmp_path: Path) -> None:
    token = new_token()
    changed_user(tmp_path / "u.yaml", "prometheus", "viewer", token=token)
    book = UserBook(tmp_path / "u.yaml")
    found = book.with_token(token)
    assert found is not None
    assert found.name == "prometheus"
    assert token not in (tmp_path / "u.yaml").read_text()
    assert book.with_token(token[:-1]) is None
    assert book.with_token("") is None
    assert book.with_password("prometheus", token) is None


def test_a_guess_costs_as_much_as_it_should() -> None:
    """RFC 9106's second choice: three passes over 64 MiB; tests themselves take a cheaper one."""
    asked = "PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1, type=Type.ID)"
    assert asked in Path(users.__file__).read_text()


def test_no_text_made_from_a_user_shows_a_hash(ann: User) -> None:
    assert "argon2" not in repr(ann)


def test_a_change_of_role_keeps_the_password(file: Path) -> None:
    changed_user(file, "ann", "admin")
    assert (read_users(file)["ann"].role, read_users(file)["ann"].password is None) == (Role.ADMIN, False)


def test_whoever_was_removed_is_out_at_once(file: Path, ann: User) -> None:
    book = UserBook(file)
    assert book.user("ann") is not None
    write_users(file, [User("bob", Role.VIEWER, ann.password)])
    assert book.user("ann") is None
    assert book.user("bob") is not None


def test_a_file_that_was_spoilt_lets_nobody_in(file: Path) -> None:
    book = UserBook(file)
    file.write_text("users: [{name: ann, role: root}]")
    assert book.user("ann") is None


def test_a_file_that_others_may_change_is_refused(file: Path) -> None:
    file.chmod(0o620)
    with pytest.raises(ConfigError, match="chmod 600"):
        UserBook(file)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("users:\n- {name: ann, role: viewer}", "has neither password nor token"),
        ("users:\n- {name: ann, role: viewer, password: hunter22hunter22}", "must be an argon2id hash"),
        ("users:\n- {name: ann, role: viewer, token: unmask_abcdef}", "must be sha256:HASH"),
        ("users:\n- {name: ann, role: root, token: x}", "must be one of viewer, operator, admin"),
        ("users:\n- {name: 'a b', role: viewer, token: x}", "users\\[0\\].name"),
        ("users: []", "names no user: add one"),
        ("[", "not YAML"),
    ],
)
def test_a_bad_file_is_one_line_that_repeats_no_secret(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "u.yaml").write_text(text)
    with pytest.raises(UsageError, match=line) as caught:
        UserBook(tmp_path / "u.yaml")
    assert "hunter22" not in str(caught.value)
    assert "abcdef" not in str(caught.value)


def test_a_user_who_is_named_twice_is_refused(tmp_path: Path) -> None:
    entry = f"{{name: ann, role: viewer, token: '{token_hash('x')}'}}"
    (tmp_path / "u.yaml").write_text(f"users: [{entry}, {entry}]")
    with pytest.raises(ConfigError, match="named twice"):
        read_users(tmp_path / "u.yaml")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write users to"):
        write_users(tmp_path / "none" / "u.yaml", [])


def test_the_command_adds_changes_and_removes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "u.yaml"
    read, write = os.pipe()
    os.write(write, f"{PASSWORD}\n".encode())
    os.close(write)
    with os.fdopen(read) as piped:
        monkeypatch.setattr("sys.stdin", piped)
        assert main(["web", "user", "ann", "--role", "viewer", "--users", str(file)]) == 0
    assert main(["web", "user", "ann", "--role", "admin", "--keep-password", "--users", str(file)]) == 0
    assert main(["web", "user", "bot", "--role", "viewer", "--token", "--users", str(file)]) == 0
    token = capsys.readouterr().out.partition("token    ")[2].splitlines()[0]
    book = UserBook(file)
    assert [user is not None for user in (book.with_password("ann", PASSWORD), book.with_token(token))] == [True, True]
    assert read_users(file)["ann"].role is Role.ADMIN
    assert main(["web", "user", "bot", "--remove", "--users", str(file)]) == 0
    assert list(read_users(file)) == ["ann"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["new", "--token"], "new is new: say --role"),
        (["a b", "--token", "--role", "viewer"], "a user's name is"),
        (["new", "--keep-password", "--role", "viewer"], "neither password nor token"),
        (["ann", "--remove"], "has no user ann|cannot read"),
    ],
)
def test_a_bad_command_is_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert main(["web", "user", *words, "--users", str(tmp_path / "u.yaml")]) == 2
    assert re.search(line, capsys.readouterr().err)
    assert not (tmp_path / "u.yaml").exists()


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="12 to 256 letters"):
        changed_user(tmp_path / "u.yaml", "ann", "viewer", password="short")
