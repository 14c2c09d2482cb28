"""A test alert: what arrives of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from stream.alerts.trial import try_sink
from stream.config_alerts import AlertsConfig


def test_a_test_alert_has_a_kind_of_its_own_and_leaves_nothing_firing(tmp_path: Path) -> None:
    """Whoever is woken by the canary is not woken by a test."""
    file = tmp_path / "got.jsonl"
    program = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"
    run = [sys.executable, "-c", program, str(file)]
    assert try_sink(AlertsConfig.model_validate({"to": [{"kind": "command", "run": run}]}).to[0]) is None
    fired, over = map(json.loads, file.read_text().split("\n")[:2])
    assert [(told["kind"], told["rule"], told["state"]) for told in (fired, over)] == [
        ("test", "test", "firing"),
        ("test", "test", "resolved"),
    ]
    assert over["message"] == f"over: {fired['message']}"
