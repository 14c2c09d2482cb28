"""Made-up text for every reader of what strangers write: a value or one line, and no secret in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.config import AppConfig, load_config, redacted
from stream.config_file import ConfigError
from stream.errors import UsageError
from stream.sources.uri import parse_source
from stream.web.source_guard import SourceGuard
from stream.web.users import read_users

Found = TypeVar("Found")

made_up = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SECRET = "s3cr3t-passw0rd"
PARTS = [
    "rtsp",
    "rtsps",
    "http",
    "file",
    "://",
    ":",
    "/",
    "@",
    "#",
    "?",
    "&",
    "=",
    "[",
    "]",
    "%",
    "%40",
    "%00",
    "\\",
    " ",
]
PARTS += [
    "ann",
    "127.0.0.1",
    "::1",
    "cam.lan",
    "10.0.0.1",
    "99999",
    "${HOME}",
    "webcam",
    "screen",
    "..",
    "\n",
    "é",
    "\0",
]
addresses = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=5)), max_size=12).map("".join)

KEYS = [*AppConfig.model_fields, "source", "name", "password", "host", "port", "enabled", "rules", "to", "users", "<<"]
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(PARTS))
trees = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(KEYS), plain), inner, max_size=6)
    ),
    max_leaves=25,
)


def read_or_refused(read: Callable[[], Found]) -> tuple[Found | None, str]:
    """What was read, or None and the line that says why not. Any other error is the reader's mistake."""
    try:
        return read(), ""
    except UsageError as error:
        return None, str(error)


@made_up
@given(address=addresses)
def test_an_address_is_understood_or_refused_in_one_line(address: str) -> None:
    found, line = read_or_refused(lambda: parse_source(address))
    assert "\n" not in line
    assert found is None or found.kind in ("webcam", "rtsp", "http", "file", "screen", "test", "csi")


@made_up
@given(before=addresses, after=addresses, scheme=st.sampled_from(["rtsp", "http", "rtsps", "bad"]))
def test_no_text_made_from_an_address_shows_its_password(before: str, after: str, scheme: str) -> None:
    host = "".join(letter for letter in after if letter not in "@:/?#[]\\")
    address = f"{scheme}://{before}:{SECRET}@{host}"
    assert SECRET not in redacted(address)
    found, line = read_or_refused(lambda: parse_source(address))
    assert SECRET not in f"{found} {found!r} {found.redacted() if found else ''} {line}"


@made_up
@given(address=addresses)
def test_the_guard_lets_nothing_pass_to_this_machine(address: str) -> None:
    """Whatever passes is a URL of an allowed scheme whose host was resolved to a camera's address."""
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["192.168.1.20"]

    guard = SourceGuard(("rtsp", "rtsps"), (), resolve, lambda: ["10.9.9.9"])
    passed, line = read_or_refused(lambda: parse_source(guard.checked(address)))
    assert "\n" not in line
    if passed is not None:
        assert passed.kind == "rtsp"
        assert "${" not in address
        host = urlsplit(passed.location).hostname or ""
        assert host not in ("127.0.0.1", "::1")
        assert asked or host[0].isdigit() or ":" in host


@made_up
@given(tree=trees)
def test_a_configuration_is_good_or_refused_by_its_lines(tmp_path: Path, tree: object) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        assert isinstance(load_config(path), AppConfig)


@made_up
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="ignore"))))
@pytest.mark.parametrize("read", [load_config, read_users], ids=["configuration", "users"])
def test_a_file_of_anything_is_refused_in_lines(tmp_path: Path, read: Callable[[Path], object], content: bytes) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    path.chmod(0o600)
    assert "\n" not in read_or_refused(lambda: read(path))[1]


@made_up
@given(tree=trees)
def test_users_are_good_or_refused(tmp_path: Path, tree: object) -> None:
    path = tmp_path / "u.yaml"
    path.write_text(yaml.safe_dump({"users": tree}, allow_unicode=True), encoding="utf-8")
    path.chmod(0o600)
    with contextlib.suppress(ConfigError):
        assert isinstance(read_users(path), dict)
