"""The example for an Alertmanager, to amtool: who is told of what, and what is not told twice."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.prometheus import ALERTS, tool

FILE = Path(__file__).parents[2] / "deploy" / "alertmanager" / "alertmanager.yml"


def amtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [tool("amtool", package="prometheus-alertmanager"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def alerts() -> dict[str, dict[str, Any]]:
    """Our alerts' rules by name."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_amtool_accepts_it() -> None:
    ended = amtool("check-config", FILE)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "wake"), ("warning", "morning"), ("info", "nobody")])
def test_each_severity_has_its_receiver(severity: str, receiver: str) -> None:
    ended = amtool("config", "routes", "test", f"--config.file={FILE}", f"severity={severity}", "alertname=Any")
    assert ended.stdout.split() == [receiver]


def test_what_silences_and_what_is_silenced_are_alerts_of_ours() -> None:
    for rule in yaml.safe_load(FILE.read_text())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            (pattern,) = re.findall(r'^alertname(?:=~|!=|=)"(.*)"$', matcher)
            assert [name for name in alerts() if re.fullmatch(pattern, name)]


def test_no_warning_silences_a_critical_alert() -> None:
    for rule in yaml.safe_load(FILE.read_text())["inhibit_rules"]:
        severities = [_severities(rule[side]) for side in ("source_matchers", "target_matchers")]
        assert "critical" not in severities[1] or severities[0] == {"critical"}


def _severities(matchers: list[str]) -> set[str]:
    (pattern,) = re.findall(r'"(.*)"', matchers[0])
    return {rule["labels"]["severity"] for name, rule in alerts().items() if re.fullmatch(pattern, name)}
