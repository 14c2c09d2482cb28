"""The ``alerts`` section: what it takes, what it refuses and in which words, and where secrets may lie."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from stream.alerts import open as open_module
from stream.alerts.alert import Severity
from stream.alerts.open import rule_of, sender_of
from stream.alerts.rules import FakeHeld, NoFace, ProbabilityAbove, StreamDown
from stream.alerts.senders.mqtt import Broker
from stream.cli import main
from stream.config import AppConfig, check, load_config
from stream.config_alerts import AlertsConfig
from stream.config_file import ConfigError
from stream.errors import MissingPartError, UsageError
from tests.stream.alerts.receivers import WebReceiver, free_port

MQTT: dict[str, Any] = {"kind": "mqtt", "host": "broker"}
MAIL: dict[str, Any] = {"kind": "email", "host": "mail", "sender": "a@example.org", "to": ["b@example.org"]}
HOOK: dict[str, Any] = {"kind": "webhook", "url": "https://example.org/s3cret"}


def sinks_of(*sinks: dict[str, Any]) -> AlertsConfig:
    return AlertsConfig.model_validate({"to": list(sinks)})


def problems(folder: Path, text: str) -> tuple[str, ...]:
    path = folder / "unmask.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return tuple(problem.removeprefix(f"{path}:") for problem in caught.value.problems)


def rule_problem(folder: Path, rule: str) -> str:
    (problem,) = problems(folder, f"alerts:\n  rules:\n    - {rule}\n")
    return problem


def sink_problem(folder: Path, sink: str) -> str:
    (problem,) = problems(folder, f"alerts:\n  to:\n    - {sink}\n")
    return problem


def test_rules_become_the_numbers_that_judge() -> None:
    common = {"severity": "critical", "streams": ["gate-*"], "cool_down_s": 1, "resolve_after_s": 2}
    said = [
        {"name": "a", "kind": "fake", "for_s": 3, **common},
        {"name": "b", "kind": "probability", "above": 0.8, "windows": 2, "of": 4},
        {"name": "c", "kind": "no_face", "for_s": 5},
        {"name": "d", "kind": "stream_down", "for_s": 6},
    ]
    rules = [rule_of(rule) for rule in AlertsConfig.model_validate({"rules": said}).rules]
    critical = Severity.CRITICAL
    assert rules[0] == FakeHeld(
        name="a", severity=critical, streams=("gate-*",), cool_down_s=1, resolve_after_s=2, for_s=3
    )
    assert rules[1:] == [
        ProbabilityAbove(name="b", above=0.8, windows=2, of=4),
        NoFace(name="c", for_s=5),
        StreamDown(name="d", for_s=6),
    ]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{name: a, kind: fake, fors: 3}", "did you mean for_s? known: name, severity, streams, cool_down_s, resolve_"),
        ("{name: a, kind: fakes}", "alerts.rules[0].kind: must be one of fake, probability, no_face, stream_down"),
        ("{name: a}", "alerts.rules[0].kind: must be one of fake, probability, no_face, stream_down"),
        ("{kind: fake}", "alerts.rules[0].name: missing"),
        ("{name: a b, kind: fake}", "alerts.rules[0].name: must be 1-40 letters"),
        ("{name: a, kind: fake, severity: loud}", "alerts.rules[0].severity: must be 'critical', 'warning' or 'info'"),
        ("{name: a, kind: fake, streams: []}", "alerts.rules[0].streams: must not be empty"),
        ("{name: a, kind: fake, for_s: -1}", "alerts.rules[0].for_s: must be greater than or equal to 0"),
        ("{name: a, kind: probability, above: 7}", "alerts.rules[0].above: must be less than or equal to 1"),
        ("{name: a, kind: probability, above: 0.5, windows: 9, of: 3}", "windows must not be more than of"),
    ],
)
def test_a_rule_that_cannot_be_is_said_with_its_line(tmp_path: Path, rule: str, words: str) -> None:
    problem = rule_problem(tmp_path, rule)
    assert problem.startswith("3: ")
    assert words in problem


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        ("{kind: pager}", "alerts.to[0].kind: must be one of webhook, mqtt, alertmanager, email, command"),
        ("{kind: webhook}", "alerts.to[0]: give url or url_env"),
        ("{kind: webhook, url: 'ftp://x'}", "must be an address such as https://example.org/alerts"),
        ("{kind: webhook, url: 'https://u:p4ss@x/'}", "must hold no user and password: use token_env or token_file"),
        ("{kind: webhook, url: 'https://x:99999/'}", "must have a port from 0 to 65535"),
        ("{kind: webhook, url: 'https://x/', secret: s}", "a secret does not belong in this file: use secret_env or"),
        (
            "{kind: webhook, url: 'https://x/', secret_env: A, secret_file: b}",
            "give secret_env or secret_file, not both",
        ),
        (
            "{kind: webhook, url: 'https://x/', token: s}",
            "a token does not belong in this file: use token_env or token",
        ),
        ("{kind: mqtt, host: b, password: s}", "a password does not belong in this file"),
        ("{kind: mqtt, host: b, password_env: A}", "a password needs user or user_env"),
        ("{kind: mqtt, host: b, user: u, password_env: A}", "a password would travel in the clear: encrypt"),
        ("{kind: mqtt, host: b, prefix: 'a/#'}", "alerts.to[0].prefix: "),
        ("{kind: email, host: m, sender: a@b, to: []}", "alerts.to[0].to: must not be empty"),
        ("{kind: email, host: m, sender: x, to: [a@b]}", "alerts.to[0].sender: must be a mail address"),
        ("{kind: email, host: m, sender: a@b, to: [a@b], security: none, user: u, password_env: A}", "in the clear"),
        ("{kind: command, run: []}", "alerts.to[0].run: must not be empty"),
        ("{kind: command, run: ls -l}", "alerts.to[0].run: "),
    ],
)
def test_a_sink_that_cannot_be_is_said_with_its_line(tmp_path: Path, sink: str, words: str) -> None:
    problem = sink_problem(tmp_path, sink)
    assert problem.startswith("3: ")
    assert words in problem
    assert "p4ss" not in problem


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        (
            "{kind: webhook, url_env: NO_SUCH_THING}",
            "alert sink webhook: NO_SUCH_THING is not set: export NO_SUCH_THING=…",
        ),
        ("{kind: webhook, url: 'https://x/', secret_file: /nowhere}", "secret_file /nowhere cannot be read"),
        ("{kind: webhook, url: 'https://x/', ca: /nowhere}", "ca /nowhere is no file: name one with certificates"),
        ("{kind: mqtt, host: b, tls: true, user_env: NO_SUCH_THING}", "NO_SUCH_THING is not set"),
        (
            "{kind: email, name: guard, host: m, sender: a@b, to: [a@b], user: u, password_env: NO_SUCH_THING}",
            "sink guard",
        ),
    ],
)
def test_a_secret_that_is_not_there_is_said_before_anything_starts(tmp_path: Path, sink: str, words: str) -> None:
    assert words in sink_problem(tmp_path, sink)


def test_an_address_in_the_environment_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_URL", "gopher://s3cret")
    with pytest.raises(UsageError, match="what HOOK_URL holds must be an address") as caught:
        sinks_of({"kind": "webhook", "url_env": "HOOK_URL"}).to[0].check()
    assert "s3cret" not in str(caught.value)


def test_names_must_differ_and_a_sink_is_called_by_its_kind(tmp_path: Path) -> None:
    assert [sink.name for sink in sinks_of(MQTT, {**MAIL, "name": "guard"}).to] == ["mqtt", "guard"]
    assert "to: 2 are named mqtt: names must differ" in problems(tmp_path, f"alerts: {{to: [{MQTT}, {MQTT}]}}")[0]
    rule = "{name: a, kind: fake}"
    assert "rules: 2 are named a" in problems(tmp_path, f"alerts: {{rules: [{rule}, {rule}]}}")[0]


def test_a_spool_may_be_named_by_its_folder_alone() -> None:
    assert AlertsConfig.model_validate({"spool": "here"}).spool.folder == Path("here")
    spool = AlertsConfig.model_validate({"spool": {"messages": 50, "bytes": "1MiB"}}).spool
    assert (spool.folder, spool.messages, spool.bytes) == (Path("unmask-alerts"), 50, 2**20)


def test_ports_follow_from_how_a_connection_is_kept_safe() -> None:
    def port(sink: dict[str, Any]) -> int:
        sender = sender_of(sinks_of(sink).to[0])
        known = getattr(sender, "_broker", None) or getattr(sender, "_server", None)
        assert known is not None
        return int(known.port)

    assert [port(MQTT), port({**MQTT, "tls": True}), port({**MQTT, "port": 7})] == [1883, 8883, 7]
    assert [port({**MAIL, "security": how}) for how in ("starttls", "tls", "none")] == [587, 465, 25]


def test_without_paho_a_broker_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_module, "find_spec", lambda _: None)
    with pytest.raises(MissingPartError, match="alert sink mqtt needs paho-mqtt: pip install"):
        sender_of(sinks_of(MQTT).to[0])


def test_only_tls_has_a_context_and_it_verifies() -> None:
    def broker(sink: dict[str, Any]) -> Broker:
        return sender_of(sinks_of(sink).to[0])._broker  # type: ignore[attr-defined, no-any-return]

    assert broker(MQTT).context is None
    context = broker({**MQTT, "tls": True}).context
    assert context is not None
    assert (context.check_hostname, context.verify_mode.name) == (True, "CERT_REQUIRED")


def test_a_password_may_travel_in_the_clear_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P", "x")
    for host in ("localhost", "127.0.0.1", "::1"):
        sinks_of({**MQTT, "host": host, "user": "u", "password_env": "P"})


def test_neither_repr_nor_dump_nor_check_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P", "hunter2")
    login = {"user": "watcher", "password_env": "P"}
    config = sinks_of(HOOK, {**MQTT, **login, "tls": True}, {**MAIL, **login}, {**HOOK, "name": "b", "secret_env": "P"})
    whole = AppConfig(alerts=config)
    path = tmp_path / "unmask.yaml"
    path.write_text("alerts: {rules: [{name: a, kind: fake}], to: [{kind: webhook, url: 'https://x/s3cret'}]}")
    lines = check(path)
    shown = repr(whole) + whole.model_dump_json() + repr([vars(sender_of(sink)) for sink in config.to]) + str(lines)
    assert [word for word in ("s3cret", "hunter2", "watcher") if word in shown] == []
    assert "alerts: a; told to webhook" in lines


# unmask alerts test


def test_the_command_says_of_each_sink_whether_a_test_arrived(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "unmask.yaml"
    with WebReceiver() as good, WebReceiver(status=403) as deaf:
        sinks = [
            f"{{kind: webhook, name: good, url: '{good.url}'}}",
            f"{{kind: webhook, name: deaf, url: '{deaf.url}'}}",
            f"{{kind: webhook, name: gone, url: 'http://127.0.0.1:{free_port()}/s3cret'}}",
            "{kind: command, run: [/bin/true]}",
        ]
        path.write_text(f"alerts: {{spool: {tmp_path / 'spool'}, to: [{', '.join(sinks)}]}}")
        assert main(["alerts", "test", "--config", str(path)]) == 1
        assert capsys.readouterr().out.splitlines() == [
            "good (webhook): arrived",
            "deaf (webhook): was refused: it answered 403",
            "gone (webhook): did not arrive: not reached (Connection refused)",
            "command (command): arrived",
        ]
        assert [post.json["state"] for post in good.posts] == ["firing", "resolved"]
        assert good.posts[0].json["message"] == "this is a test, nothing is wrong"
    assert not (tmp_path / "spool").exists()


def test_the_command_is_content_when_all_arrive_and_says_when_there_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "unmask.yaml"
    path.write_text("alerts: {to: [{kind: command, run: [/bin/true]}]}")
    assert main(["alerts", "test", "--config", str(path)]) == 0
    path.write_text("streams: []")
    assert main(["alerts", "test", "--config", str(path)]) == 2
    assert "names no sinks: list them under alerts.to" in capsys.readouterr().err
    assert threading.active_count() < 50
