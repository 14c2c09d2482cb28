"""Who may do what: roles, and the file of users with their argon2 hashes.

The file is YAML and holds no password and no token, only what they are checked against. It is read again when it has
changed, so a user who was removed is out with the next request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
import stat
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type
from pydantic import Field, ValidationError, field_validator, model_validator

from engines.whole_file import PRIVATE, write_whole
from stream.config_file import ConfigError, YamlFile, problems_of
from stream.config_section import SHORTEST_PASSWORD, Section
from stream.errors import OutputError, UsageError

log = logging.getLogger(__name__)

LONGEST_PASSWORD = 256
TOKEN_PREFIX = "unmask_"  # nosec B105 # the part that is no secret
"""Lets scanners of leaked secrets know what they found."""
NAME = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,39}"
_TOKEN_HASH = re.compile(r"sha256:[0-9a-f]{64}")
HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1, type=Type.ID)
"""64 MiB for each login (RFC 9106's second choice, on one core: the others are busy with video)."""


class Role(IntEnum):
    """Each may do all that those before it may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class User:
    """Somebody who may log in with a password, or a program that shows a token."""

    name: str
    role: Role
    password: str | None = field(default=None, repr=False)
    """Its argon2id hash, as that algorithm writes it."""
    token: str | None = field(default=None, repr=False)
    """``sha256:`` and the hash; a token is random, so nothing slower is needed."""


class _UserEntry(Section):
    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    role: Role
    password: str | None = Field(default=None, repr=False)
    token: str | None = Field(default=None, repr=False)

    @field_validator("role", mode="before")
    @classmethod
    def _word(cls, value: Any) -> Role:
        try:
            return Role[str(value).upper()]
        except KeyError:
            raise ValueError(f"must be one of {', '.join(role.word for role in Role)}") from None

    @model_validator(mode="after")
    def _hashes(self) -> _UserEntry:
        if self.password is None and self.token is None:
            raise ValueError("has neither password nor token: write it with `unmask web user`")
        if self.password is not None and not self.password.startswith("$argon2id$"):
            raise ValueError("password must be an argon2id hash, never a password: write it with `unmask web user`")
        if self.token is not None and not _TOKEN_HASH.fullmatch(self.token):
            raise ValueError("token must be sha256:HASH, never a token: write it with `unmask web user --token`")
        return self


class _UsersFile(Section):
    users: tuple[_UserEntry, ...] = ()


def read_users(path: Path) -> dict[str, User]:
    """By name. Raises ConfigError (a UsageError) that names file, line and what to do, and repeats no value."""
    _refuse_open_file(path)
    file = YamlFile(path, f"write it with `unmask web user NAME --role admin --users {path}`")
    try:
        entries = _UsersFile.model_validate(file.values).users
    except ValidationError as error:
        raise ConfigError(problems_of(error, _UsersFile, file)) from None
    users = {entry.name: User(entry.name, entry.role, entry.password, entry.token) for entry in entries}
    if len(users) < len(entries):
        raise ConfigError([f"{path}: a user is named twice: keep one"])
    return users


def read_some_users(path: Path) -> dict[str, User]:
    """As read_users; a file without any is refused as well."""
    users = read_users(path)
    if not users:
        raise UsageError(f"{path} names no user: add one with `unmask web user NAME --role admin --users {path}`")
    return users


def write_users(path: Path, users: Iterable[User]) -> None:
    """Whole or not at all, for nobody but its owner. Raises OutputError."""
    lines = ["# Written by `unmask web user`: hashes only, yet nobody else needs to read them.", "users:"]
    lines += [f"- {json.dumps(_entry(user))}" for user in users]
    try:
        write_whole(path, "".join(f"{line}\n" for line in lines).encode(), PRIVATE)
    except OSError as error:
        raise OutputError(f"cannot write users to {path} ({error.strerror}): name another file") from error


def changed_user(
    path: Path, name: str, role: str | None, *, password: str | None = None, token: str | None = None
) -> User:
    """Add the user or change what is given, and write the file. ``role``: a Role's word; None keeps the one there is.

    Raises UsageError and OutputError.
    """
    users = read_users(path) if path.exists() else {}
    known = users.get(name)
    if known is None and role is None:
        raise UsageError(f"{name} is new: say --role viewer, operator or admin")
    if not re.fullmatch(NAME, name):
        raise UsageError("a user's name is 1-40 letters, digits, '-', '_', '.' or '@'")
    user = known or User(name, Role.VIEWER)
    user = replace(
        user,
        role=user.role if role is None else Role[role.upper()],
        password=user.password if password is None else hashed_password(password),
        token=user.token if token is None else token_hash(token),
    )
    if user.password is None and user.token is None:
        raise UsageError(f"{name} has neither password nor token yet: leave --keep-password out")
    write_users(path, {**users, name: user}.values())
    return user


def removed_user(path: Path, name: str) -> None:
    """Raises UsageError when there is none of that name."""
    users = read_users(path)
    if users.pop(name, None) is None:
        raise UsageError(f"{path} has no user {name}: there are {', '.join(users) or 'none'}")
    write_users(path, users.values())


def hashed_password(password: str) -> str:
    """Raises UsageError for one that is too short to keep anybody out."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} letters: take a longer one")
    return HASHER.hash(password)


def new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


class UserBook:
    """Answers who somebody is. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError when the file cannot be used."""
        self._path, self._lock = path, threading.Lock()
        self._stamp = _stamp(path)
        self._users: Mapping[str, User] = read_some_users(path)
        self._nobody = HASHER.hash(secrets.token_urlsafe(32))
        """Checked in the place of a user who is not there: that takes as long."""

    def user(self, name: str) -> User | None:
        return self._current().get(name)

    def with_password(self, name: str, password: str) -> User | None:
        """The user, if that is the password. Takes as long for a user who is not there; costs 64 MiB for a moment."""
        user = self.user(name)
        known = user.password if user is not None else None
        is_right = _is_password(known or self._nobody, password)
        return user if is_right and known is not None else None

    def with_token(self, token: str) -> User | None:
        """Whose token it is; every one is looked at, so that time tells nothing."""
        shown, found = token_hash(token), None
        for user in self._current().values():
            if hmac.compare_digest(user.token or "", shown):
                found = user
        return found

    def _current(self) -> Mapping[str, User]:
        with self._lock:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._read_again()
            return self._users

    def _read_again(self) -> None:
        """A file that is no good lets nobody in: it may have been changed to keep somebody out."""
        try:
            self._users = read_users(self._path)
        except UsageError as error:
            log.error("%s; nobody is let in until that is mended", error)
            self._users = {}


def _is_password(known: str, password: str) -> bool:
    try:
        return HASHER.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False


def _entry(user: User) -> dict[str, str]:
    values = {"name": user.name, "role": user.role.word, "password": user.password, "token": user.token}
    return {key: value for key, value in values.items() if value is not None}


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _refuse_open_file(path: Path) -> None:
    """Whoever may write it may make himself admin."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # the reader says why
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError([f"{path} can be changed by others than its owner: chmod 600 {path}"])
    if mode & stat.S_IROTH:
        log.warning("%s can be read by everybody on this machine: chmod 600 %s", path, path)
