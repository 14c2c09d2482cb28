"""What answers beyond loopback: the restream with a password and TLS, the metrics' own port not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stream.cli import _parser
from stream.config import AppConfig, MetricsConfig, check, load_config
from stream.config_file import ConfigError
from stream.config_restream import RestreamConfig
from stream.errors import UsageError
from stream.watch_options import watch_config

BEYOND = ["0.0.0.0", "::", "192.168.1.5", "unmask.example.org"]
LOOPBACK = ["127.0.0.1", "127.8.0.1", "::1", "localhost"]
PASSWORD = "hunter2-and-hunter3"
TLS = {"certificate": "c.pem", "key": "k.pem"}
LOGIN = {"user": "ann", "password_env": "RESTREAM_PASSWORD"}


def watch(*words: str) -> AppConfig:
    return watch_config(_parser().parse_args(["watch", *words]))


@pytest.mark.parametrize("host", BEYOND)
@pytest.mark.parametrize("given", [{}, {"tls": TLS}, LOGIN])
def test_beyond_loopback_the_restream_wants_a_password_and_tls(host: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"restream\.user, restream\.password_env .* and restream\.tls"):
        RestreamConfig(enabled=True, host=host, **given)
    assert not RestreamConfig(host=host, **given).enabled
    assert RestreamConfig(enabled=True, host=host, tls=TLS, **LOGIN).scheme == "rtsps"


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("given", [{}, {"tls": TLS}, LOGIN, {"tls": TLS, **LOGIN}])
def test_on_loopback_both_are_by_choice(host: str, given: dict[str, Any]) -> None:
    assert RestreamConfig(enabled=True, host=host, **given).enabled


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"user": "ann"}, "both a user"),
        ({"user_env": "WHO"}, "both a user"),
        ({"password_env": "PASS"}, "both a user"),
        ({"user": "ann", "user_env": "WHO", "password_env": "PASS"}, "give user or user_env, not both"),
        ({"user": "ann", "password_file": "p", "password_env": "PASS"}, "give password_env or password_file, not both"),
        ({"user": "ann", "password": "hunter2"}, "Extra inputs"),
        ({"user": "ann", "password_env": "hunter 2"}, "name of an environment variable"),
        ({"tls": {"certificate": "c.pem"}}, "Field required"),
    ],
)
def test_half_a_login_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        RestreamConfig(**given)


def test_the_secrets_are_read_from_where_it_says(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    named = RestreamConfig(user_env="WHO", password_env="PASS")
    assert named.credentials({"WHO": "bob", "PASS": PASSWORD}) == ("bob", PASSWORD)
    assert RestreamConfig(user="ann", password_file=tmp_path / "password").credentials() == ("ann", PASSWORD)
    assert RestreamConfig().credentials() is None
    with pytest.raises(UsageError, match="restream: PASS is not set"):
        named.credentials({"WHO": "bob"})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_password_that_can_be_guessed_does_not_open_it_to_others(host: str) -> None:
    asked = RestreamConfig(enabled=True, host=host, user="ann", password_env="PASS", tls=TLS)  # type: ignore[arg-type]
    if host == "127.0.0.1":
        assert asked.credentials({"PASS": "short"}) == ("ann", "short")
    else:
        with pytest.raises(UsageError, match="fewer than 12 letters"):
            asked.credentials({"PASS": "elevenchars"})
        assert asked.credentials({"PASS": "twelve-chars"}) == ("ann", "twelve-chars")


def test_no_text_of_it_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTREAM_PASSWORD", PASSWORD)
    config = AppConfig(restream=RestreamConfig(user="somebody", password_env="RESTREAM_PASSWORD"))
    for text in (repr(config), str(config), config.model_dump_json()):
        assert PASSWORD not in text
        assert "somebody" not in text


@pytest.mark.parametrize("host", BEYOND)
def test_the_metrics_own_port_stays_on_loopback(host: str) -> None:
    with pytest.raises(ValidationError, match=r"leave it at 127\.0\.0\.1 and let others scrape /metrics of the page"):
        MetricsConfig(host=host)
    assert not MetricsConfig(host=host, enabled=False).enabled


@pytest.mark.parametrize("host", LOOPBACK)
def test_metrics_answer_on_any_address_of_loopback(host: str) -> None:
    assert MetricsConfig(host=host).enabled


FILE = """streams: [{source: test}]
restream:
  enabled: true
  host: 0.0.0.0
metrics:
  host: 0.0.0.0
"""


def test_a_file_that_opens_them_to_others_is_refused_by_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(FILE)
    with pytest.raises(ConfigError) as caught:
        check(path)
    restream, metrics = caught.value.problems
    assert restream.startswith(f"{path}:2: restream: host 0.0.0.0 can be reached from other machines")
    assert metrics.startswith(f"{path}:5: metrics: host 0.0.0.0 can be reached from other machines")
    assert "\n" not in restream + metrics


@pytest.mark.parametrize(
    ("missing", "why"),
    [("password", "password_file .* cannot be read"), ("c.pem", "tls: .*c.pem is no file"), (None, "")],
)
def test_what_a_file_names_must_be_there(tmp_path: Path, missing: str | None, why: str) -> None:
    path = tmp_path / "c.yaml"
    for name in {"password", "c.pem", "k.pem"} - {missing}:
        (tmp_path / name).write_text(PASSWORD)
    path.write_text(
        f"restream: {{enabled: true, host: 0.0.0.0, user: ann, password_file: {tmp_path}/password, "
        f"tls: {{certificate: {tmp_path}/c.pem, key: {tmp_path}/k.pem}}}}\n"
    )
    if missing is None:
        text = "\n".join(check(path))
        assert "restream: rtsps://0.0.0.0:8554/NAME, with a password" in text
        assert PASSWORD not in text
    else:
        with pytest.raises(ConfigError, match=rf"{path}:1: restream: {why}"):
            load_config(path)


def test_the_option_opens_it_to_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("streams: [{source: test}]\nrestream: {host: 0.0.0.0}\n")
    assert not watch("--config", str(path)).restream.enabled
    with pytest.raises(UsageError, match=r"^restream: host 0\.0\.0\.0 can be reached from other machines"):
        watch("--config", str(path), "--restream")
    path.write_text("streams: [{source: test}]\nrestream: {port: 8555}\n")
    assert watch("--config", str(path), "--restream").restream == RestreamConfig(enabled=True, port=8555)
    with pytest.raises(UsageError, match=r"^metrics: host 0\.0\.0\.0 can be reached from other machines"):
        watch("test", "--metrics-host", "0.0.0.0")
