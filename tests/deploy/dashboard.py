"""The Grafana dashboard as data: its panels, and the queries that they ask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "unmask.json"
VALUES = {"$__rate_interval": "1m", "$instance": ".*", "$stream": ".*"}
"""What Grafana puts in place of its variables, with All chosen."""
_WORD = re.compile(r"(?<![\w:])[a-zA-Z_:][\w:]*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def dashboard() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def panels() -> list[dict[str, Any]]:
    """All that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """(panel's title, PromQL with Grafana's variables in it), annotations too."""
    for panel in panels():
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for annotation in dashboard()["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]


def filled(expression: str) -> str:
    """As Grafana sends it."""
    for variable, value in VALUES.items():
        expression = expression.replace(variable, value)
    return expression


def metrics_in(expression: str) -> set[str]:
    """Names of the process' metrics, without a histogram's endings, and of recorded series (with colons)."""
    words = set(_WORD.findall(_QUOTED.sub('""', expression)))
    ours = {word for word in words if word.startswith(("unmask_", "process_", "python_")) or ":" in word.strip(":")}
    return {re.sub(r"_(bucket|sum|count)$", "", word) for word in ours}
