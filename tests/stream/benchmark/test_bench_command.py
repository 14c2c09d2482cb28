"""``unmask bench`` end to end, for a second or two each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from engines.spec import WindowSpec
from stream.benchmark.observations import StreamNumbers
from stream.benchmark.run import compared_s, missed_by
from stream.benchmark.trial import TrialOrder, TrialResult
from stream.cli import main
from stream.errors import SourceError
from stream.gst.clip_making import ClipShape

STREAM_KEYS = {
    "name",
    "fps",
    "delivered_fps",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "gap_p99_frames",
    "gap_max_frames",
    "scores_per_s",
    "samples",
    "samples_wanted",
    "score_age_p95_ms",
    "video_drops",
    "analysis_skips",
}


def bench(clip: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, Any]:
    """Its JSON; clips that it makes lie beside ``clip``."""
    report = clip.parent / "report.json"
    monkeypatch.setattr("stream.benchmark.run.CLIPS", clip.parent)
    for module in ("run", "trial"):
        monkeypatch.setattr(f"stream.benchmark.{module}.WARM_UP_S", 1.5)
    assert main(["bench", "--clip", str(clip), "--json", str(report), *options]) == 0
    loaded: dict[str, Any] = json.loads(report.read_text())
    return loaded


@pytest.mark.parametrize("mode", ["score", "restream"])
def test_streams_are_measured_one_by_one(face_clip: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    report = bench(face_clip, monkeypatch, "--streams", "2", "--mode", mode, "--seconds", "1")
    assert (report["schema"], report["mode"], report["model"]) == (3, mode, "lite0-gru")
    assert report["networks"]["detector"].split()[1] == "fp32"
    trial = report["trial"]
    assert [set(stream) for stream in trial["streams"]] == [STREAM_KEYS] * 2
    assert [stream["name"] for stream in trial["streams"]] == ["camera-1", "camera-2"]
    assert all(stream["fps"] > 0 and stream["scores_per_s"] > 0 for stream in trial["streams"])
    assert trial["cpu"] >= trial["cpu_inference"] > 0
    assert trial["camera_cpu"] > 0
    assert ("encode" in trial["stages"]) is (mode == "restream")
    assert [fps > 0 for fps in trial["viewer_fps"]] == [True] * (2 if mode == "restream" else 0)
    assert (trial["viewer_cpu"] > 0) is (mode == "restream")


def test_a_frozen_camera_is_told_from_the_others(face_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = bench(face_clip, monkeypatch, "--streams", "2", "--stall", "--seconds", "1")
    assert report["frozen"] == "camera-2"
    alive, frozen = report["during"]
    assert alive["fps"] > frozen["fps"]
    assert alive["scores_per_s"] > 0


def test_cameras_that_do_not_start_are_too_many_and_fewer_are_tried(
    face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def trial(order: TrialOrder, *_: object) -> TrialResult:
        tried.append(order.streams)
        if order.streams > 2 or (order.streams == 2 and order.seconds > 1):
            raise SourceError("a benchmark camera did not play in time: try fewer streams", reason="timeout")
        numbers = StreamNumbers("camera-1", 25, 25, 9, 9, 9, 1, 1, 5, 5, 5, 9, 0, 0)
        return TrialResult((numbers,) * order.streams, "score", order.seconds, 1, 0, {}, {}, 0, 1, 1, 1, 1)

    monkeypatch.setattr("stream.benchmark.run.run_trial", trial)
    monkeypatch.setattr("stream.benchmark.run.SEARCH_S", 1)
    report = bench(face_clip, monkeypatch, "--streams", "auto", "--seconds", "2")
    assert tried == [8, 4, 2, 3, 2, 1]
    assert (report["largest"], report["carried"], len(report["trial"]["streams"])) == (1, True, 1)


def test_a_trial_whose_viewers_miss_pictures_is_not_carried() -> None:
    numbers = StreamNumbers("camera-1", 25, 25, 9, 9, 9, 1, 1, 5, 5, 5, 9, 0, 0)
    result = TrialResult((numbers,), "restream", 1, 1, 0, {}, {}, 0, 1, 1, 1, 1, viewer_fps=(25.0,))
    assert missed_by(result) == []
    assert missed_by(replace(result, viewer_fps=(24.0,))) == ["viewers"]


def test_what_is_compared_holds_a_whole_window_however_short_it_was_asked_to_be() -> None:
    window = WindowSpec(slots=20, period_s=0.2, feature_dim=8)
    assert compared_s(3.0, window) == pytest.approx(4.2)
    assert (compared_s(6.0, window), compared_s(60.0, window)) == (6.0, ClipShape.seconds)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--streams", "0"], 2, "number above 0"),
        (["--streams", "many"], 2, "many"),
        (["--mode", "paint"], 2, "paint"),
        (["--seconds", "0"], 2, "number above 0"),
        (["--stall", "--compare"], 2, "not allowed"),
        (["--stall"], 2, "--streams 2"),
        (["--clip", "none.mp4"], 4, "no file at none.mp4"),
        (["--backend", "nosuch"], 2, "model.backend"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    options: list[str], code: int, told: str, face_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [] if "--clip" in options else ["--clip", str(face_clip)]
    try:
        found = main(["bench", *chosen, *options])
    except SystemExit as error:
        found = int(str(error.code))
    assert found == code
    assert told in capsys.readouterr().err
