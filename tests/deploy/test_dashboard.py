"""The dashboard's file: whole, readable, and about metrics that exist. Its queries are run by test_prometheus_live."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.dashboard import dashboard, filled, metrics_in, panels, queries
from tests.deploy.prometheus import promtool

ROWS = ("Now", "Streams", "Scores", "Latency", "Drops and faults", "Engines", "Machine", "Alerts and evidence")
each_panel = pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])


def test_every_query_is_promql(tmp_path: Path) -> None:
    rules = "".join(f"  - {{record: 'asked:{n}', expr: {filled(ask)!r}}}\n" for n, (_, ask) in enumerate(queries()))
    (tmp_path / "asked.yml").write_text(f"groups:\n- name: asked\n  rules:\n{rules}")
    ended = promtool("check", "rules", tmp_path / "asked.yml")
    assert ended.returncode == 0, ended.stderr


UNKNOWN_TO_THE_SCHEMA = {
    ".templating.list[].definition",  # the query again, for its list of variables
    ".annotations.list[].builtIn",
    ".annotations.list[].step",  # these two are the Prometheus data source's own
    ".annotations.list[].titleFormat",
}


def test_grafanas_own_schema_reads_it_and_writes_the_same_again() -> None:
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins", reason="pip install grafana-foundation-sdk")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard())))
    assert set(differences(dashboard(), again)) == UNKNOWN_TO_THE_SCHEMA


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where ``other`` lacks or changes what ``one`` says."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key, value in one.items():
            yield from differences(value, other.get(key), f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for item, same in zip(one, other, strict=True):
            yield from differences(item, same, f"{path}[]")
    elif one != other:
        yield path


def test_its_rows_are_what_an_operator_looks_for() -> None:
    assert tuple(panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row") == ROWS


def test_ids_and_titles_are_used_once() -> None:
    ids = [panel["id"] for panel in dashboard()["panels"]]
    titles = [panel["title"] for panel in panels()]
    assert len(ids) == len(set(ids))
    assert len(titles) == len(set(titles))


def test_no_panel_lies_on_another() -> None:
    def square(panel: dict[str, Any]) -> tuple[int, int, int, int]:
        at = panel["gridPos"]
        return at["x"], at["y"], at["x"] + at["w"], at["y"] + at["h"]

    squares = [(panel["title"], square(panel)) for panel in dashboard()["panels"]]
    over = [
        (one, other)
        for (one, a), (other, b) in combinations(squares, 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
    assert over == []
    assert [title for title, at in squares if at[2] > 24] == []


@each_panel
def test_a_panel_has_a_unit_and_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]


@each_panel
def test_a_panel_s_curves_have_names(panel: dict[str, Any]) -> None:
    if panel["type"] in ("timeseries", "state-timeline", "heatmap"):
        assert [target["expr"] for target in panel["targets"] if not target["legendFormat"]] == []


@each_panel
def test_a_panel_asks_the_prometheus_and_the_instances_that_were_chosen(panel: dict[str, Any]) -> None:
    assert panel["datasource"]["uid"] == "${datasource}"
    asked = [target["expr"] for target in panel["targets"] if "ALERTS" not in target["expr"]]
    assert [ask for ask in asked if ask.count('instance=~"$instance"') != len(re.findall(r"\{", ask))] == []


def test_data_source_instance_and_stream_can_be_chosen() -> None:
    variables = {variable["name"]: variable["type"] for variable in dashboard()["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query", "stream": "query"}


@pytest.mark.parametrize("counted", ["unmask_stream_frames_dropped_total", "unmask_stream_frames_damaged_total"])
def test_frames_that_are_not_judged_have_a_curve(counted: str) -> None:
    (panel,) = [panel for panel in panels() if panel["title"] == "Frames left out, by reason"]
    assert counted in {metric for target in panel["targets"] for metric in metrics_in(target["expr"])}


def test_names_of_metrics_are_found_in_a_query() -> None:
    asked = 'rate(unmask_a_bucket{b="unmask_b"}[1m]) / level:unmask_c:rate1m unless process_d'
    assert metrics_in(asked) == {"unmask_a", "level:unmask_c:rate1m", "process_d"}
