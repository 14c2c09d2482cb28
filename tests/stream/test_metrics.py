"""Metrics as a Prometheus server reads them."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from engines.runtime.table import RUNTIMES
from engines.store import PRECISIONS
from stream import metrics as metrics_module
from stream.alerts.alert import AlertKind, AlertState
from stream.alerts.courier import OUTCOMES
from stream.errors import OutputError
from stream.jetson_stats import RAILS, ZONES
from stream.metrics import SILENT_S, Metrics
from stream.ports import Observer
from stream.types import (
    SOURCE_REASONS,
    BoardReading,
    FaceScore,
    QualityReason,
    StreamName,
    StreamState,
    TrackId,
    Verdict,
)
from tests.stream.alerts.alert_parts import ALERT

CAM = StreamName("front-door")
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
BOARD = BoardReading({"cpu": 50.0}, {"total": 7.5}, 0.5, 2**30, 2**33)
Sample = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(wall_clock=lambda: 1_700_000_000.5)
    made.add_stream(CAM)
    made.add_backend("lite0-gru", "onnxruntime-cpu", "fp16")
    made.add_board(lambda: BOARD)
    made.expect_alerts()
    made.add_alert_sink("ops")
    return made


def samples(metrics: Metrics) -> dict[Sample, float]:
    families = text_string_to_metric_families(metrics.scrape())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[f"unmask_{name}", frozenset(labels.items())]


def send_everything(metrics: Observer, text: str) -> None:
    """Every event of the seam, with ``text`` wherever a label comes from."""
    stream = StreamName(text)
    face = FaceScore(TrackId(7), (0, 0, 1, 1), Verdict.FAKE, 0.9)
    metrics.stream_state(stream, StreamState.PLAYING)
    metrics.frame_arrived(stream, 1)
    metrics.frame_dropped(stream, text, text)
    metrics.reconnected(stream, text)
    metrics.source_fps(stream, 30.0)
    metrics.stage_took(stream, text, 0.1)
    metrics.faces_tracked(stream, 2)
    metrics.face_rejected(stream, text)
    metrics.window_scored(stream, Verdict.FAKE, 0.9)
    metrics.inference(text, text, 3, 0.1)
    metrics.inference_failed(text, text)
    metrics.runtime_changed(text, text, text, text)
    metrics.verdict_changed(stream, face)
    metrics.sample_skipped(stream, text)
    metrics.sampling_ratio(stream, 0.5)
    metrics.overload_level(1)


def test_every_series_of_a_known_stream_starts_at_zero(metrics: Metrics) -> None:
    for state in StreamState:
        assert value(metrics, "stream_state", stream=CAM, state=state.value) == 0
    for reason in SOURCE_REASONS:
        assert value(metrics, "stream_reconnects_total", stream=CAM, reason=reason) == 0
    for quality in QualityReason:
        assert value(metrics, "faces_rejected_total", stream=CAM, reason=quality.value) == 0
    for reason in ("batch", "configured", "overload", "calm"):
        assert value(metrics, "samples_skipped_total", stream=CAM, reason=reason) == 0
    for verdict in ("warming_up", "real", "unsure", "fake"):
        assert value(metrics, "windows_scored_total", stream=CAM, verdict=verdict) == 0
    for stage in ("analysis", "video"):
        for reason in ("newer_frame", "turn", "error"):
            assert value(metrics, "stream_frames_dropped_total", stream=CAM, stage=stage, reason=reason) == 0
    for stage in ("decode", "detect", "embed", "head", "overlay", "e2e"):
        assert value(metrics, "frame_latency_seconds_count", stage=stage) == 0
    for name in ("stream_frames_total", "stream_source_fps", "stream_last_frame_timestamp_seconds", "faces_tracked"):
        assert value(metrics, name, stream=CAM) == 0
    for name in ("inference_duration_seconds_count", "inference_batch_size_count", "inference_errors_total"):
        assert value(metrics, name, model="lite0-gru", backend="onnxruntime-cpu") == 0
    assert value(metrics, "window_score_count") == 0


def test_a_stream_is_in_one_state_at_a_time(metrics: Metrics) -> None:
    for state in StreamState:
        metrics.stream_state(CAM, state)
        shown = {other: value(metrics, "stream_state", stream=CAM, state=other.value) for other in StreamState}
        assert shown == {other: float(other is state) for other in StreamState}


def test_a_frame_counts_and_leaves_its_wall_clock_time(metrics: Metrics) -> None:
    metrics.frame_arrived(CAM, arrived_ns=5)
    metrics.frame_arrived(CAM, arrived_ns=6)
    assert value(metrics, "stream_frames_total", stream=CAM) == 2
    assert value(metrics, "stream_last_frame_timestamp_seconds", stream=CAM) == 1_700_000_000.5


def test_events_reach_their_series(metrics: Metrics) -> None:
    metrics.frame_dropped(CAM, "analysis", "newer_frame")
    metrics.reconnected(CAM, "stalled")
    metrics.source_fps(CAM, 29.97)
    metrics.faces_tracked(CAM, 3)
    metrics.face_rejected(CAM, "blurred")
    assert value(metrics, "stream_frames_dropped_total", stream=CAM, stage="analysis", reason="newer_frame") == 1
    assert value(metrics, "stream_reconnects_total", stream=CAM, reason="stalled") == 1
    assert value(metrics, "stream_source_fps", stream=CAM) == 29.97
    assert value(metrics, "faces_tracked", stream=CAM) == 3
    assert value(metrics, "faces_rejected_total", stream=CAM, reason="blurred") == 1


def test_thinned_sampling_shows_by_stream_and_reason(metrics: Metrics) -> None:
    metrics.sample_skipped(CAM, "overload")
    metrics.sampling_ratio(CAM, 0.5)
    metrics.overload_level(3)
    assert value(metrics, "samples_skipped_total", stream=CAM, reason="overload") == 1
    assert value(metrics, "sampling_ratio", stream=CAM) == 0.5
    assert value(metrics, "overload_level") == 3


def test_a_scored_window_counts_by_verdict_and_by_probability(metrics: Metrics) -> None:
    metrics.window_scored(CAM, Verdict.FAKE, 0.93)
    metrics.window_scored(CAM, Verdict.WARMING_UP, 0.41)
    assert value(metrics, "windows_scored_total", stream=CAM, verdict="fake") == 1
    assert value(metrics, "windows_scored_total", stream=CAM, verdict="warming_up") == 1
    assert value(metrics, "window_score_bucket", le="0.9") == 1
    assert value(metrics, "window_score_sum") == pytest.approx(1.34)


def test_inference_is_timed_and_counted_by_model_and_backend(metrics: Metrics) -> None:
    labels = {"model": "lite0-gru", "backend": "onnxruntime-cpu"}
    metrics.inference(**labels, batch=3, seconds=0.04)
    metrics.inference_failed(**labels)
    assert value(metrics, "inference_duration_seconds_sum", **labels) == pytest.approx(0.04)
    assert value(metrics, "inference_batch_size_bucket", **labels, le="4.0") == 1
    assert value(metrics, "inference_batch_size_bucket", **labels, le="2.0") == 0
    assert value(metrics, "inference_errors_total", **labels) == 1
    assert value(metrics, "backend_info", **labels, precision="fp16") == 1


@pytest.mark.parametrize("stage", metrics_module.LATENCY_STAGES)
def test_a_stage_s_time_falls_into_its_buckets(metrics: Metrics, stage: str) -> None:
    metrics.stage_took(CAM, stage, 0.0004)
    metrics.stage_took(CAM, stage, 0.3)
    assert value(metrics, "frame_latency_seconds_bucket", stage=stage, le="0.0005") == 1
    assert value(metrics, "frame_latency_seconds_bucket", stage=stage, le="0.5") == 2


KNOWN_WORDS = {
    CAM,
    *SOURCE_REASONS,
    *metrics_module.LATENCY_STAGES,
    *metrics_module.DROP_STAGES,
    *metrics_module.DROP_REASONS,
    *metrics_module.QUALITY_REASONS,
    *metrics_module.SKIP_REASONS,
    *metrics_module.VERDICTS,
}


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(max_size=40).filter(lambda text: text not in KNOWN_WORDS), min_size=1, max_size=5))
def test_labels_outside_their_sets_become_other_and_series_do_not_grow(texts: list[str]) -> None:
    metrics = Metrics()
    metrics.add_stream(CAM)
    send_everything(metrics, "anything unknown")
    before = set(samples(metrics))
    for text in texts:
        send_everything(metrics, text)
    assert set(samples(metrics)) - before == set()


@pytest.mark.parametrize("secret", ["rtsp://root:hunter2@10.0.0.5/x", "user@host", "/srv/clip.mp4", "a" * 65, ""])
def test_an_address_never_becomes_a_label(secret: str) -> None:
    metrics = Metrics()
    metrics.add_stream(StreamName(secret))
    metrics.add_backend(secret, "onnxruntime-cpu")
    send_everything(metrics, secret)
    assert f'"{secret}"' not in metrics.scrape()
    assert value(metrics, "stream_frames_total", stream="other") == 1


def test_an_engine_that_comes_in_is_counted_and_named(metrics: Metrics) -> None:
    metrics.runtime_changed("lite0-gru", "onnxruntime-cpu", "tensorrt", "built")
    change = {"model": "lite0-gru", "before": "onnxruntime-cpu", "after": "tensorrt"}
    assert value(metrics, "runtime_changes_total", **change, reason="built") == 1
    assert value(metrics, "backend_info", model="lite0-gru", backend="onnxruntime-cpu", precision="fp16") == 0
    metrics.inference("lite0-gru", "tensorrt", 1, 0.001)
    assert value(metrics, "inference_duration_seconds_count", model="lite0-gru", backend="tensorrt") == 1


def test_another_engine_of_the_same_runtime_is_named_by_its_precision(metrics: Metrics) -> None:
    metrics.add_backend("lite0-gru", "onnxruntime-cpu", "int8")
    metrics.runtime_changed("lite0-gru", "onnxruntime-cpu", "onnxruntime-cpu", "built")
    labels = {"model": "lite0-gru", "backend": "onnxruntime-cpu"}
    assert [value(metrics, "backend_info", **labels, precision=name) for name in ("fp16", "int8")] == [0, 1]


def test_alerts_count_by_stream_and_by_what_their_rule_looks_at(metrics: Metrics) -> None:
    labels = {"stream": CAM, "rule_kind": "fake"}
    first, second = (replace(ALERT, id=name, stream=CAM) for name in ("a", "b"))
    over = replace(first, state=AlertState.RESOLVED)
    seen = []
    for alert in (first, first, second, over, over):
        metrics.alert_changed(alert)
        seen.append((value(metrics, "alerts_total", **labels), value(metrics, "alerts_firing", **labels)))
    assert seen == [(1, 1), (1, 1), (2, 2), (2, 1), (2, 1)]
    assert value(metrics, "alerts_total", stream=CAM, rule_kind="no_face") == 0


def test_alerts_of_a_stream_that_is_gone_grow_no_series(metrics: Metrics) -> None:
    metrics.alert_changed(replace(ALERT, stream=CAM))
    metrics.remove_stream(CAM)
    metrics.alert_changed(replace(ALERT, stream=CAM, state=AlertState.RESOLVED))
    assert not [name for name, labels in samples(metrics) if "alerts" in name and ("stream", CAM) in labels]
    metrics.alert_changed(replace(ALERT, id="b", stream=StreamName("rtsp://root:hunter2@door")))
    assert value(metrics, "alerts_firing", stream="other", rule_kind="fake") == 1


def test_an_alert_of_the_whole_service_has_no_stream(metrics: Metrics) -> None:
    assert value(metrics, "alerts_total", stream="", rule_kind="canary") == 0
    metrics.alert_changed(replace(ALERT, stream=StreamName(""), kind=AlertKind.CANARY))
    assert value(metrics, "alerts_firing", stream="", rule_kind="canary") == 1


def test_deliveries_and_what_waits_count_by_sink(metrics: Metrics) -> None:
    assert value(metrics, "alert_deliveries_total", sink="ops", outcome="dropped") == 0
    metrics.alert_delivery("ops", "failed")
    metrics.alerts_waiting("ops", 3)
    metrics.alert_delivery("https://secret", "boom")
    assert value(metrics, "alert_deliveries_total", sink="ops", outcome="failed") == 1
    assert value(metrics, "alert_deliveries_total", sink="other", outcome="other") == 1
    assert value(metrics, "alert_spool_messages", sink="ops") == 3


def test_the_words_of_deliveries_are_the_couriers() -> None:
    assert metrics_module.DELIVERY_OUTCOMES == OUTCOMES


def test_a_fallback_is_at_zero_before_it_happens(metrics: Metrics) -> None:
    metrics.add_backend("xception", "tensorrt")
    change = {"model": "xception", "before": "tensorrt", "after": "onnxruntime-cpu", "reason": "failed"}
    assert value(metrics, "runtime_changes_total", **change) == 0
    metrics.runtime_changed("xception", "tensorrt", "onnxruntime-cpu", "failed")
    assert value(metrics, "runtime_changes_total", **change) == 1


def test_a_canary_shows_nothing_before_its_first_answer(metrics: Metrics) -> None:
    assert "unmask_canary" not in metrics.scrape()
    metrics.show_canary(True, {"genuine": 0.2, "swapped": 0.9})
    assert "unmask_canary_ok 1.0" in metrics.scrape()
    assert 'unmask_canary_probability{clip="genuine"} 0.2' in metrics.scrape()
    metrics.show_canary(False, {"swapped": 0.4})
    assert "unmask_canary_ok 0.0" in metrics.scrape()
    assert 'unmask_canary_probability{clip="genuine"} NaN' in metrics.scrape()
    assert 'unmask_canary_probability{clip="swapped"} 0.4' in metrics.scrape()


def test_a_track_id_never_becomes_a_label(metrics: Metrics) -> None:
    labels = {label for _, pairs in samples(metrics) for label, _ in pairs}
    known = ["stream", "state", "reason", "stage", "verdict", "model", "backend", "precision", "before", "after", "le"]
    alerts = ["rule_kind", "sink", "outcome"]
    web = ["code"]
    build_info = ["version", "python"]
    python_info = ["implementation", "major", "minor", "patchlevel"]
    board = ["zone", "rail", "gpu"]
    assert labels <= {*known, *alerts, *build_info, *python_info, *board, *web}


def test_the_build_names_its_version_and_python(metrics: Metrics) -> None:
    (labels,) = [dict(pairs) for name, pairs in samples(metrics) if name == "unmask_build_info"]
    assert set(labels) == {"version", "python"}
    assert all(labels.values())


def test_the_process_reports_itself(metrics: Metrics) -> None:
    names = {name for name, _ in samples(metrics)}
    assert "process_resident_memory_bytes" in names
    assert not any(name.endswith("_created") for name in names)


def test_two_metrics_do_not_share_a_registry(metrics: Metrics) -> None:
    other = Metrics()
    other.add_stream(CAM)
    metrics.frame_arrived(CAM, 1)
    assert value(other, "stream_frames_total", stream=CAM) == 0


def test_events_from_many_threads_are_all_counted(metrics: Metrics) -> None:
    def send() -> None:
        for _ in range(500):
            metrics.frame_arrived(CAM, 1)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "stream_frames_total", stream=CAM) == 2000


def test_a_server_answers_scrapes_until_it_is_closed(metrics: Metrics) -> None:
    metrics.frame_arrived(CAM, 1)
    server = metrics.serve(port=0)
    try:
        assert server.host == "127.0.0.1"
        assert server.port > 0
        with urllib.request.urlopen(server.url, timeout=10) as answer:
            text = answer.read().decode()
    finally:
        server.close()
    server.close()
    assert 'unmask_stream_frames_total{stream="front-door"} 1.0' in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.url, timeout=10)


def test_what_is_told_of_a_stream_while_it_is_removed_makes_no_series_anew(metrics: Metrics) -> None:
    """An event that has found the stream known goes on after the removal."""
    name = StreamName("gone")

    class Meanwhile(str):
        """Removes the stream when a series is looked up by it for the second time."""

        looks = 0

        def __hash__(self) -> int:
            Meanwhile.looks += 1
            if Meanwhile.looks == 2:
                metrics.remove_stream(name)
            return super().__hash__()

        __eq__ = str.__eq__

    for tell in (
        lambda stream: metrics.faces_tracked(stream, 1),
        lambda stream: metrics.source_fps(stream, 25.0),
        lambda stream: metrics.frame_dropped(stream, "analysis", "turn"),
    ):
        metrics.add_stream(name)
        Meanwhile.looks = 0
        tell(StreamName(Meanwhile(name)))
        metrics.remove_stream(name)
        assert Meanwhile.looks >= 2
        assert 'stream="gone"' not in metrics.scrape()


@pytest.mark.parametrize("said", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: here\r\n"])
def test_a_scraper_that_falls_silent_is_hung_up_on(metrics: Metrics, said: bytes) -> None:
    before = set(threading.enumerate())
    with closing(metrics.serve(port=0, silent_s=0.2)) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent:
            silent.sendall(said)
            assert silent.recv(1000) == b""
        with urllib.request.urlopen(server.url, timeout=10) as answer:
            assert answer.status == 200
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_a_scraper_has_half_a_minute_by_itself() -> None:
    assert SILENT_S == 30.0


def test_a_closed_server_leaves_no_thread_and_frees_its_port(metrics: Metrics) -> None:
    before = set(threading.enumerate())
    server = metrics.serve(port=0)
    server.close()
    assert set(threading.enumerate()) <= before
    again = metrics.serve(port=server.port)
    again.close()


def test_a_taken_port_is_one_line_that_says_what_to_do(metrics: Metrics) -> None:
    server = metrics.serve(port=0)
    try:
        with pytest.raises(OutputError, match=rf"127.0.0.1:{server.port} .*in use.*--metrics-port") as caught:
            Metrics().serve(port=server.port)
    finally:
        server.close()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("192.0.2.1", 0)])
def test_an_address_that_cannot_be_served_is_an_output_error(metrics: Metrics, host: str, port: int) -> None:
    with pytest.raises(OutputError, match="cannot serve metrics on"):
        metrics.serve(host, port)


def documented() -> dict[str, tuple[str, frozenset[str], str]]:
    """Name -> (type, labels, meaning) from the table of docs/metrics.md."""
    rows = re.findall(
        r"^\| `(unmask_\w+)` \| (\w+) \|(.*?)\| (.*?) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}


def test_the_documentation_lists_exactly_the_metrics_that_exist(metrics: Metrics) -> None:
    metrics.add_backend("xception", "tensorrt")  # only such a one has a fallback
    metrics.show_canary(True, {})
    existing = {}
    for family in text_string_to_metric_families(metrics.scrape()):
        if family.name.startswith("unmask_"):
            labels = frozenset(family.samples[0].labels) - {"le"}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            existing[name] = (family.type, labels, family.documentation)
    assert documented() == existing


def test_the_documentation_lists_every_label_value() -> None:
    text = DOCS.read_text(encoding="utf-8")
    known = (
        *SOURCE_REASONS,
        *metrics_module.LATENCY_STAGES,
        *metrics_module.DROP_STAGES,
        *metrics_module.DROP_REASONS,
        *metrics_module.QUALITY_REASONS,
        *metrics_module.SKIP_REASONS,
        *metrics_module.VERDICTS,
        *metrics_module.STREAM_ALERTS,
        *metrics_module.SERVICE_ALERTS,
        *metrics_module.DELIVERY_OUTCOMES,
        *metrics_module.CANARY_CLIPS,
        *metrics_module.RUNTIME_REASONS,
        *metrics_module.WEB_CODES,
        *RUNTIMES,
        *PRECISIONS,
        *(state.value for state in StreamState),
        *ZONES.values(),
        *RAILS.values(),
    )
    assert [value for value in known if f"`{value}`" not in text] == []
