"""The docs' rows are told from the benchmark's own reports, and nothing is begun that would not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from bench.many_cameras import MEASUREMENTS, carried_lines, compared_lines, fits, grown_lines, stalled_lines
from stream.benchmark.comparison import OURS, standings
from stream.benchmark.growth import Curve, curves_json, point_of
from stream.benchmark.observations import StreamNumbers, rounded
from stream.benchmark.rivals import WayRun
from stream.benchmark.run import as_json
from stream.benchmark.trial import TrialResult
from stream.cli import _parser

STREAM = StreamNumbers("camera-1", 25, 25, 40, 60, 70, 1.2, 1.4, 5, 48, 50.0, 300, 0, 0)
OTHER = replace(STREAM, name="camera-2", latency_p95_ms=80.0, gap_p99_frames=1.3)
TRIAL = TrialResult(
    (STREAM, OTHER), "score", 12, 1.0, 0.6, {"detect": 0.5, "embed": 0.1, "decode": 0.4}, {}, 0.1, 1.4, 400, 1.0, 5.0
)
NETWORKS = {"networks": {"backbone": "onnxruntime-cpu fp32", "detector": "onnxruntime-cpu fp32"}}


def read(report: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from its file."""
    loaded: dict[str, Any] = json.loads(json.dumps(rounded(NETWORKS | report)))
    return loaded


def test_the_largest_number_is_told_with_what_a_stream_costs() -> None:
    lines = carried_lines(read({"largest": 2, "trial": as_json(TRIAL)}))
    assert "| carried | **2** |" in lines
    assert "| p95 latency | 60-80 ms |" in lines
    assert "| p99 gap, frames | 1.20-1.30 |" in lines
    assert "| CPU outside inference, a stream | 20.0 % of a core |" in lines
    assert "| CPU in all, a stream | 50.0 % of a core |" in lines
    assert "| … detect | 25.00 % |" in lines
    assert lines[-1] == "| cores taken by other programs | 0.3 |"


def test_none_carried_is_a_number_too() -> None:
    assert carried_lines(read({"largest": 0})) == ["| carried | **0** |"]


def test_the_frozen_camera_is_not_among_the_others() -> None:
    report = {"before": [STREAM, OTHER], "during": [replace(STREAM, fps=24.9), OTHER], "frozen": "camera-2"}
    assert stalled_lines(read(report))[-1] == "| fps | 25.00 → 24.90 |"


def test_every_way_has_its_row_and_the_logits_stand_before_them() -> None:
    table = standings([WayRun(OURS, 10, 2, 1, 50, 50), WayRun("(b)", 10, 10, 5, 50, 250)])
    lines = compared_lines(read({"compare": {"standings": table, "same": {"ours": -0.2, "recomputed": None}}}))
    assert lines[0] == "ours on onnxruntime-cpu fp32; logits: ours -0.200"
    assert lines[2] == "| (b) | 5.0 | 10.0 | 5.0 × | 5.0 × |"


def test_every_point_of_a_curve_has_its_row() -> None:
    curve = Curve("streams", (point_of(1, "1 stream", TRIAL), point_of(2, "2 streams", TRIAL)))
    lines = grown_lines(read({"grow": curves_json([curve])}))
    assert lines[0].startswith("| | detect | embed | decode | all |")
    assert lines[1] == "| 1 stream | 10.00 | 2.00 | 8.00 | 20.00 | 100% | 96% | 5 |"
    assert lines[-1] == curve.sentence


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda one: one.name)
def test_each_row_is_a_command_that_can_be_given(measurement: Any) -> None:
    assert _parser().parse_args(["bench", *measurement.options.split()]).run
    assert fits(measurement, measurement.takes_s)
    assert not fits(measurement, measurement.takes_s - 1)


def test_all_of_it_fits_into_a_quarter_of_an_hour() -> None:
    assert sum(measurement.takes_s for measurement in MEASUREMENTS) <= 15 * 60
