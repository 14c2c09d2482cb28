"""What we ship for Prometheus, without a server: promtool's verdict, and that nothing in it is made up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from stream.metrics import Metrics
from stream.types import StreamName
from tests.deploy.dashboard import metrics_in, queries
from tests.deploy.prometheus import ALERTS, FOLDER, RULES, hurried, promtool

ROOT = Path(__file__).parents[2]
SEVERITIES = {"critical", "warning", "info"}
SOMETIMES = {
    "unmask_board_temperature_celsius": "a Jetson's or a GPU's sensors",
    "unmask_board_power_watts": "a Jetson's or a GPU's sensors",
    "unmask_board_gpu_load_ratio": "a Jetson's or a GPU's sensors",
    "unmask_board_memory_used_bytes": "a Jetson's or a GPU's sensors",
    "unmask_board_memory_total_bytes": "a Jetson's or a GPU's sensors",
    "unmask_canary_ok": "a canary",
    "unmask_canary_probability": "a canary",
}
"""Metrics that are not on the endpoint without what is named here."""
NOT_SHOWN: set[str] = set()
"""Documented metrics that neither rules nor dashboard look at."""


def rules_of(file: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def documented() -> set[str]:
    text = (ROOT / "docs" / "metrics.md").read_text()
    return set(re.findall(r"^\| `(unmask_\w+)` \|", text, re.MULTILINE))


def asked() -> set[str]:
    """Every name in rules, alerts and dashboard."""
    rules = [rule["expr"] for rule in (*rules_of(RULES), *rules_of(ALERTS))]
    return set().union(*map(metrics_in, [*rules, *(expression for _, expression in queries())]))


def families_of(text: str) -> set[str]:
    """Names on a metrics endpoint, as they are documented; those without any series too."""
    families = text_string_to_metric_families(text)
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in families}


def recorded() -> set[str]:
    return {rule["record"] for rule in rules_of(RULES)}


each_alert = pytest.mark.parametrize("alert", rules_of(ALERTS), ids=lambda rule: rule["alert"])


def test_promtool_accepts_the_configuration_and_its_rules() -> None:
    ended = promtool("check", "config", FOLDER / "prometheus.yml")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2 rule files found" in ended.stdout


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.test.yml")), ids=lambda path: path.name)
def test_promtools_unit_tests_pass(file: Path) -> None:
    ended = promtool("test", "rules", file)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def expectations() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "unmask.alerts.test.yml").read_text())["tests"]
    return [expectation for group in groups for expectation in group["promql_expr_test"]]


@each_alert
def test_an_alert_is_seen_firing_and_seen_silent_before_and_after(alert: dict[str, Any]) -> None:
    fires, silent = [], []
    for expectation in expectations():
        (pattern,) = re.findall(r'alertname=~?"([^"]+)"', expectation["expr"])
        if re.fullmatch(pattern, alert["alert"]):
            told = "".join(sample["labels"] for sample in expectation.get("exp_samples", []))
            (fires if f'"{alert["alert"]}"' in told else silent).append(expectation["eval_time"])
    assert fires
    assert len(silent) >= 2


@each_alert
def test_an_alert_says_how_grave_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert set(alert["labels"]) == {"severity"}
    assert alert["labels"]["severity"] in SEVERITIES
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert len(alert["annotations"]["description"]) > len(alert["annotations"]["summary"])


@each_alert
def test_an_alerts_runbook_is_a_heading_under_which_it_is_explained(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    sections = re.split(r"^#+ (.*)$", (ROOT / page).read_text(), flags=re.MULTILINE)
    found = [text for title, text in zip(sections[1::2], sections[2::2], strict=True) if anchor_of(title) == anchor]
    assert len(found) == 1
    assert f"| `{alert['alert']}` |" in found[0]


def anchor_of(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in rules_of(ALERTS)]
    assert len(names) == len(set(names))


def test_operating_explains_no_alert_that_does_not_exist() -> None:
    told = set(re.findall(r"`(Unmask[A-Z]\w+)`", (ROOT / "docs" / "operating.md").read_text()))
    assert told == {rule["alert"] for rule in rules_of(ALERTS)}


def test_every_metric_that_is_asked_for_exists() -> None:
    metrics = Metrics()
    metrics.add_stream(StreamName("door"))
    metrics.add_backend("lite0-gru", "tensorrt")
    assert asked() - families_of(metrics.scrape()) - recorded() - set(SOMETIMES) == set()
    assert set(SOMETIMES) <= documented()


def test_every_documented_metric_is_looked_at_or_said_not_to_be() -> None:
    assert documented() - asked() == NOT_SHOWN


def test_every_recorded_series_is_asked_for() -> None:
    assert recorded() - asked() == set()
    assert {name for name in asked() if ":" in name} == recorded()


def test_it_scrapes_where_unmask_answers() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "unmask"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9108"]}]
    looked_for = {name for rule in rules_of(ALERTS) for name in re.findall(r'job="(\w+)"', rule["expr"])}
    assert looked_for == {job["job_name"]}


def test_one_elsewhere_is_scraped_over_tls_with_a_token_from_a_file() -> None:
    text = (FOLDER / "prometheus.yml").read_text()
    commented = text[text.index("  # - job_name: unmask-elsewhere") :].split("\n\n")[0].replace("  # ", "  ")
    (job,) = yaml.safe_load(commented)
    assert commented.strip() in (FOLDER.parents[1] / "docs" / "monitoring.md").read_text()
    assert (job["scheme"], list(job["authorization"])) == ("https", ["credentials_file"])
    assert job["relabel_configs"] == [{"target_label": "job", "replacement": "unmask"}]


def test_a_hurried_copy_differs_in_its_durations_only() -> None:
    text = ALERTS.read_text()
    assert "for: 3000ms" in hurried(text)
    assert "[15000ms]" in hurried(text)
    assert "scrape_interval: 750ms" in hurried((FOLDER / "prometheus.yml").read_text())

    def without_durations(text: str) -> str:
        return re.sub(r"\b\d+(s|m|h|d|ms)\b", "…", text)

    assert without_durations(hurried(text)) == without_durations(text)
