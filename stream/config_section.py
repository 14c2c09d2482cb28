"""What every section of a configuration is made of: its base, its kinds of numbers and texts, and where secrets lie."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, SecretStr

from stream.errors import UsageError

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

SHORTEST_PASSWORD = 12
"""Letters of what other machines may try to guess."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


def plain_name(name: str) -> str:
    """Fit for a metric label, a path and a file. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError("must be 1-40 letters, digits, '-', '_' or '.', and begin with a letter or a digit")
    return name


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _variable_name(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of an environment variable: a secret itself does not belong in this file")
    return name


PlainName = Annotated[str, AfterValidator(plain_name)]
Text = Annotated[str, AfterValidator(_not_blank)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
"""Where a secret lies, and not one put in its place: errors tell a variable's name."""
UserText = Annotated[Text, PlainSerializer(lambda _: "***")]


class Section(BaseModel):
    """Part of a configuration: frozen, without keys that nobody knows, and quiet about what was put in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def one_of(section: Section, first: str, second: str) -> None:
    """Of two keys that say the same. Raises ValueError."""
    if getattr(section, first) is not None and getattr(section, second) is not None:
        raise ValueError(f"give {first} or {second}, not both")


def is_loopback(host: str) -> bool:
    """Of an address or a name as it is configured; a name other than localhost is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def variable(name: str, owner: str, environment: Mapping[str, str] = os.environ) -> str:
    """An environment variable that ``owner`` needs. Raises UsageError when it is not set."""
    if not environment.get(name):
        raise UsageError(f"{owner}: {name} is not set: export {name}=…")
    return environment[name]


def secret_in(path: Path, key: str = "password_file", what: str = "password") -> str:
    """What the file that ``key`` names holds. Raises UsageError when it holds nothing, or cannot be read."""
    try:
        secret = Path(os.path.expanduser(path)).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UsageError(f"{key} {path} cannot be read ({reason}): write the {what} into it") from None
    if not secret:
        raise UsageError(f"{key} {path} is empty: write the {what} into it")
    return secret


def secret_of(
    owner: str, what: str, env: str | None, file: Path | None, environment: Mapping[str, str] = os.environ
) -> SecretStr | None:
    """The secret that ``what_env`` or ``what_file`` leads to; None where neither is given. Raises UsageError."""
    if env is not None:
        return SecretStr(variable(env, owner, environment))
    if file is not None:
        return SecretStr(secret_in(file, f"{owner}: {what}_file", what))
    return None
