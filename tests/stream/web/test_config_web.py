"""Where the page listens, and that it is never opened to others by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from stream.cli import _parser, main
from stream.config import AppConfig, load_config
from stream.config_file import ConfigError
from stream.config_web import TlsConfig, WebConfig, host_and_port
from stream.errors import UsageError
from stream.watch_options import watch_config

TLS = TlsConfig(certificate=Path("c.pem"), key=Path("k.pem"))


def watch(*words: str) -> AppConfig:
    return watch_config(_parser().parse_args(["watch", *words]))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "unmask.example.org"])
@pytest.mark.parametrize("given", [{}, {"users": "u.yaml"}, {"tls": TLS}])
def test_beyond_loopback_it_wants_users_and_tls(host: str, given: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"needs both web\.users .* and web\.tls"):
        WebConfig(enabled=True, host=host, **given)
    assert not WebConfig(enabled=True, host=host, users=Path("u.yaml"), tls=TLS).is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_wants_nothing(host: str) -> None:
    assert WebConfig(enabled=True, host=host).is_loopback


def test_what_is_off_may_be_half_configured() -> None:
    assert not WebConfig(host="0.0.0.0").enabled


def test_a_file_that_opens_it_to_others_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("streams: [{source: test}]\nweb:\n  enabled: true\n  host: 0.0.0.0\n")
    with pytest.raises(ConfigError, match=rf"{path}:2: web: host 0\.0\.0\.0 can be reached from other machines"):
        load_config(path)


def test_the_option_turns_it_on_where_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("streams: [{source: test}]\nweb: {port: 8090, clients_most: 5}\n")
    assert not watch("--config", str(path)).web.enabled
    assert watch("--config", str(path), "--web").web == WebConfig(enabled=True, port=8090, clients_most=5)
    assert watch("--config", str(path), "--web", "[::1]:9000").web.host == "::1"
    assert watch("test").web == WebConfig()


def test_the_page_may_be_opened_without_a_stream() -> None:
    assert watch("--web").streams == ()


def test_the_option_alone_opens_it_to_nobody_else() -> None:
    with pytest.raises(UsageError, match=r"needs both web\.users") as caught:
        watch("test", "--web", "0.0.0.0:8080")
    assert str(caught.value).startswith("web: host 0.0.0.0 can be reached from other machines")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("localhost:9000", "localhost", 9000),
        ("[::1]:9000", "::1", 9000),
        ("[::1]", "::1", None),
        ("::1", "::1", None),
        (":9000", None, 9000),
        ("9000", None, 9000),
        ("10.0.0.1", "10.0.0.1", None),
    ],
)
def test_an_address_is_read(text: str, host: str | None, port: int | None) -> None:
    assert host_and_port(text) == (host, port)


@pytest.mark.parametrize("text", ["webcam", "webcam:1", "clip.mp4", "rtsp://10.0.0.1/a", "::1:x"])
def test_a_source_is_no_address(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["watch", "--web", text])
    assert "sources belong before --web" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["127.0.0.1:99999", ":65536", "70000"])
def test_a_port_that_is_too_high_is_called_so(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["watch", "--web", text])
    assert f"port {text.rpartition(':')[2]} is too high: 65535 is the highest" in capsys.readouterr().err


@pytest.mark.parametrize(
    "values", [{"port": -1}, {"video": "flash"}, {"sources_allowed": ["file"]}, {"clients_most": 0}, {"password": "x"}]
)
def test_a_bad_value_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WebConfig(**values)
