"""Pages that tests share: opening one takes a tenth of a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from stream.config_web import WebConfig
from stream.web.users import Role, User, hashed_password, token_hash
from tests.stream.web.site import Site, open_site, users_file

PASSWORD = "correct horse battery"
TOKENS = {role.word: f"unmask_token-of-{role.word}" for role in Role}


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """A hash in the product takes a third of a second on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream.web.users.HASHER", PasswordHasher(1, 1024, 1))
        yield


@pytest.fixture(scope="session")
def known_users(cheap_hashes: None) -> tuple[User, ...]:
    """Ann, an operator with a password; and a program of each role with a token."""
    del cheap_hashes  # asked for so that it comes first
    programs = (User(f"program-{role.word}", role, token=token_hash(TOKENS[role.word])) for role in Role)
    return (User("ann", Role.OPERATOR, hashed_password(PASSWORD)), *programs)


@pytest.fixture
def users(tmp_path: Path, known_users: tuple[User, ...]) -> Path:
    return users_file(tmp_path / "users.yaml", *known_users)


@pytest.fixture
def site() -> Iterator[Site]:
    """On loopback, where everybody is admin."""
    with open_site() as opened:
        yield opened


@pytest.fixture
def locked_site(users: Path) -> Iterator[Site]:
    """On loopback, with users."""
    with open_site(WebConfig(enabled=True, port=0, users=users)) as opened:
        yield opened
