"""What the page is told of the engines that run."""

from __future__ import annotations

import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from engines.runtime.swappable import RuntimeChange
from stream.observers import StreamFacts
from stream.web.services import engine_facts
from tests.stream.test_app import parts

PARTS = parts()
MODEL, DETECTOR = PARTS.model.spec.name, PARTS.detector.name
FALLEN = RuntimeChange(DETECTOR, "d.onnx", "tensorrt", "onnxruntime-cpu", "failed", "out of memory", "fp32")
BUILT = RuntimeChange(MODEL, "backbone.onnx", "onnxruntime-cpu", "tensorrt", "built", "twice as fast", "fp16")


def told(*changes: RuntimeChange) -> dict[str, tuple[str, str]]:
    found = engine_facts(PARTS, StreamFacts(), {change.model: change for change in changes})
    return {engine.model: (engine.precision, engine.why) for engine in found}


def test_engines_are_told_as_they_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PARTS.detector, "precision", "bf16")
    assert told() == {DETECTOR: ("bf16", ""), MODEL: (PARTS.model.precision, PARTS.model.why)}


def test_a_change_is_told_of_the_network_that_changed_and_no_other() -> None:
    assert told(FALLEN) == {DETECTOR: ("fp32", "out of memory"), MODEL: (PARTS.model.precision, PARTS.model.why)}
    assert told(BUILT, FALLEN) == {DETECTOR: ("fp32", "out of memory"), MODEL: ("fp16", "twice as fast")}
