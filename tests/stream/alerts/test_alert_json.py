"""The two shapes of an alert as JSON, to the byte: receivers and signed evidence hold us to them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from stream.alerts.alert import Alert, AlertState, alert_from_json, json_from_alert
from stream.alerts.message import decoded, encoded
from stream.evidence.folders import as_json
from stream.evidence.manifest import manifest_json
from tests.stream.alerts.alert_parts import alert_of

EXACT = alert_of(began_at=1_700_000_000.123_456, fake_probability=0.934_567_8, evidence="door-a1", message="gefälscht")
BARE = alert_of(track_id=None, fake_probability=None, state=AlertState.RESOLVED)

SENT = (
    '{"id": "a1", "state": "firing", "rule": "swapped", "kind": "fake", "severity": "critical", "stream": "door", '
    '"track_id": 3, "began_at": 1700000000.123, "changed_at": 1700000000.0, "fake_probability": 0.9346, '
    '"message": "gefälscht", "model": "lite0-gru", "backend": "onnxruntime-cpu", "evidence": "door-a1"}'
)
KEPT = """{
 "schema": 1,
 "folder": "door-a1",
 "alert": {
  "id": "a1",
  "rule": "swapped",
  "kind": "fake",
  "severity": "critical",
  "state": "firing",
  "stream": "door",
  "track_id": 3,
  "began_at": 1700000000.123456,
  "changed_at": 1700000000.0,
  "fake_probability": 0.9345678,
  "message": "gefälscht",
  "model": "lite0-gru",
  "backend": "onnxruntime-cpu",
  "evidence": "door-a1"
 },
 "files": [],
 "missing": []
}
"""


def test_a_message_is_rounded_and_in_its_order() -> None:
    assert encoded(EXACT).decode() == SENT


def test_a_manifest_is_exact_and_in_its_order() -> None:
    assert as_json(manifest_json(EXACT, "door-a1", [], [], {}, {})).decode() == KEPT


@pytest.mark.parametrize("alert", [EXACT, BARE])
def test_an_alert_comes_back_as_it_was(alert: Alert) -> None:
    assert alert_from_json(json.loads(json.dumps(json_from_alert(alert)))) == alert


def test_a_message_comes_back_as_it_was_told() -> None:
    assert decoded(SENT.encode()) == dataclasses.replace(EXACT, began_at=1_700_000_000.123, fake_probability=0.9346)
    assert decoded(encoded(BARE)) == BARE


def test_keys_of_a_later_version_are_passed_over() -> None:
    assert alert_from_json({**json_from_alert(EXACT), "mood": "grim"}) == EXACT


@pytest.mark.parametrize("key", json_from_alert(EXACT))
def test_a_missing_key_is_no_whole_alert(key: str) -> None:
    said = {name: value for name, value in json_from_alert(EXACT).items() if name != key}
    with pytest.raises(ValueError, match="not an alert"):
        alert_from_json(said)


@pytest.mark.parametrize("changes", [{"kind": "noise"}, {"kind": []}, {"began_at": None}, {"track_id": 1.5}])
def test_a_value_that_is_none_of_ours_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an alert"):
        alert_from_json({**json_from_alert(EXACT), **changes})
