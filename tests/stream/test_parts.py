"""What a configuration makes of a stream's place among the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from engines.catalog import LoadedModel, open_model
from engines.errors import InferenceError, RuntimeMissingError
from engines.runtime import tensorrt_cuda
from engines.runtime.ports import Array, Backend
from engines.runtime.swappable import RuntimeChange
from stream.config import AnalysisConfig, AppConfig, ModelConfig, ScoringConfig, StreamConfig
from stream.errors import ModelError, UsageError
from stream.faces.network import NetworkDetector
from stream.faces.open import open_detector
from stream.parts import build_analysis, hot_start, open_parts, plan_of, scheduling_policy
from stream.scheduling.plan import Limits, Priority, StreamPlan
from stream.types import StreamName, TrackId
from tests.fakes import frame_of, spec_of


def test_a_stream_s_plan_is_what_it_asks_for() -> None:
    stream = StreamConfig(source="webcam", priority="high", sample_every=2, detect_rate_hz=4)
    assert plan_of(stream, spec_of(), is_live=True) == StreamPlan(True, Priority.HIGH, 2, 250_000_000)


def test_windows_too_sparse_for_the_model_are_one_line_that_says_what_goes() -> None:
    stream = StreamConfig(source="webcam", name="door", sample_every=4)
    with pytest.raises(UsageError, match=r"stream door: sample_every 4 leaves scripted too few samples: at most 3$"):
        plan_of(stream, spec_of(), is_live=True)


def test_what_streams_share_follows_the_configuration() -> None:
    analysis = AnalysisConfig(batch_window_ms=3, max_batch=8, max_detections=2, busy_above=0.9, calm_every=3)
    policy = scheduling_policy(AppConfig(analysis=analysis), spec_of())
    assert (policy.limits, policy.batch_window_ns) == (Limits(8, 2), 3_000_000)
    overload = policy.overload
    assert (overload.busy_above, overload.busy_below, overload.clear_below) == pytest.approx((0.9, 0.45, 0.3))
    assert policy.calm.every == 3


@pytest.mark.parametrize("real_at", [0.35, 0.1, 0.0])
def test_a_calm_face_lies_well_below_what_is_called_real(real_at: float) -> None:
    policy = scheduling_policy(AppConfig(scoring=ScoringConfig(real_at=real_at)), spec_of())
    assert policy.calm.below == pytest.approx(0.6 * real_at)


LITE = AppConfig(model=ModelConfig(name="lite0-gru", threads=1))


def test_a_watch_keeps_nothing_of_faces_that_are_gone_and_a_scored_file_all() -> None:
    """A summary holds up to 13 minutes of scores, and a watch never ends."""
    with closing(open_parts(LITE)) as parts:
        name = StreamName("door")
        books = [build_analysis(LITE, parts, name, keeps_summaries=keeps_all).book for keeps_all in (False, True)]
    for book in books:
        book.due([TrackId(1), TrackId(2)], 0)
        book.begin_segment()
    assert [len(book.summaries()) for book in books] == [0, 2]


class Failing:
    """A graph whose runtime gives up; its tensors are the real one's."""

    name = "tensorrt"

    def __init__(self, real: Backend) -> None:
        self.inputs, self.outputs = real.inputs, real.outputs
        self._real = real

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:  # noqa: ARG002
        raise InferenceError("the device is lost: restart it")

    def close(self) -> None:
        self._real.close()


def test_a_runtime_that_fails_while_it_runs_is_replaced_by_the_graph_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def opened(*args: Any, **options: Any) -> LoadedModel:
        model = open_model(*args, **options)
        return replace(model, backbone=Failing(model.backbone))

    monkeypatch.setattr("stream.parts.open_model", opened)
    told: list[RuntimeChange] = []
    parts = open_parts(LITE, on_change=told.append)
    size = parts.model.spec.pixels.size
    features = parts.scorer.embed([np.zeros((size, size, 3), np.uint8)])
    assert np.isfinite(features).all()
    assert parts.scorer.backend_name == "onnxruntime-cpu"
    assert [(change.model, change.before, change.after, change.reason) for change in told] == [
        ("lite0-gru", "tensorrt", "onnxruntime-cpu", "failed")
    ]
    assert "the device is lost" in caplog.text
    parts.close()


def test_a_detector_that_fails_while_it_runs_is_replaced_by_its_graph_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def opened(name: str, *, wrap: Callable[[Backend], Backend], **options: Any) -> NetworkDetector:
        return open_detector(name, wrap=lambda backend: wrap(cast("Backend", Failing(backend))), **options)

    monkeypatch.setattr("stream.parts.open_detector", opened)
    told: list[RuntimeChange] = []
    parts = open_parts(LITE, on_change=told.append)
    assert parts.detector.detect(frame_of(0.0)) == ()
    assert parts.detector.backend_name == "onnxruntime-cpu"
    assert [(change.model, change.graph, change.after, change.reason) for change in told] == [
        ("centerface", "centerface.onnx", "onnxruntime-cpu", "failed")
    ]
    parts.close()


def test_engines_are_built_while_it_runs_only_when_that_is_asked_for() -> None:
    parts = open_parts(LITE)
    assert hot_start(LITE, parts) is None
    building = AppConfig(model=LITE.model.model_copy(update={"build": "auto"}))
    assert hot_start(building, parts) is not None
    parts.close()


def test_an_engine_that_is_still_to_be_built_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(name: str, *, backend: str, threads: int) -> LoadedModel:
        if backend == "tensorrt":
            raise RuntimeMissingError("no tensorrt engine of lite0-gru for this machine: build one")
        return open_model(name, backend=backend, threads=threads)

    monkeypatch.setattr("stream.parts.open_model", opened)
    wanted = LITE.model.model_copy(update={"backend": "tensorrt"})
    with pytest.raises(ModelError, match="no tensorrt engine"):
        open_parts(AppConfig(model=wanted))
    building = AppConfig(model=wanted.model_copy(update={"build": "auto"}))
    monkeypatch.setattr(tensorrt_cuda, "unavailable", lambda: "no NVIDIA driver")
    with pytest.raises(ModelError, match="cannot run here"):  # and none can be built
        open_parts(building)
    monkeypatch.setattr("stream.parts.require", lambda name: name)
    parts = open_parts(building)
    assert parts.scorer.backend_name == "onnxruntime-cpu"
    parts.close()
