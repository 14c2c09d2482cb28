"""The whole application on a thread, everybody whom it tells, and the rules that every fault must pass."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from engines.catalog import LoadedModel
from engines.runtime.ports import Array
from stream.app import Started, WatchResult, watch
from stream.config import AppConfig, MetricsConfig, RetryConfig, StreamConfig
from stream.observers import SilentObserver
from stream.parts import Parts
from stream.scoring.scorer import ModelScorer
from stream.types import FaceBox, Frame, Scene, StreamName, StreamState
from tests.fakes import FixedDetector, backbone_of, head_of, spec_of
from tests.stream.sources.video_parts import wait_until

CAMERA, BESIDE = StreamName("camera"), StreamName("beside")
RETRY = RetryConfig(first_s=0.2, longest_s=1.0, stalled_after_s=1.5)
BACK_WITHIN_S = 2 * RETRY.longest_s
CONNECTS_IN_S = 8.0
"""How long RTSP's own handshake and the first key frame may take while every core is busy."""
LONGEST_GAP_S = 1.5
"""So that a busy machine fails no test; ``bench.fault_gaps`` measures the rule, 100 ms."""
BESIDE_FPS = 30
TWO_ERAS = 0.5
"""Black and white pictures lie 1.7 apart in a normalised crop."""


def face_everywhere(frame: Frame) -> tuple[FaceBox, ...]:
    width, height = frame.planes.width, frame.planes.height
    return (FaceBox((width * 0.3, height * 0.2, width * 0.6, height * 0.8), 0.99),)


class Model:
    """Scripted parts. ``mixed`` counts windows that hold pictures of before and after: black ones and white ones."""

    def __init__(
        self,
        *,
        detect: Callable[[Frame], tuple[FaceBox, ...]] = face_everywhere,
        embed: Callable[[Array], Array] | None = None,
    ) -> None:
        self.windows = self.mixed = 0
        spec = spec_of()
        backbone, head = backbone_of(embed), head_of(self._judge)
        self.parts = Parts(LoadedModel(spec, backbone, head), FixedDetector(detect), ModelScorer(backbone, head, spec))

    def _judge(self, features: Array, mask: Array) -> Array:
        for window, filled in zip(features, mask, strict=True):
            light = window[filled > 0][:, 0]
            self.windows += 1
            self.mixed += bool(len(light) and np.ptp(light) > TWO_ERAS)
        return np.full(len(features), 4.0, np.float32)


@dataclass(frozen=True)
class Scored:
    """A face's newest score, as the sinks were given it."""

    stream: StreamName
    pts_s: float
    samples: int


class Witness(SilentObserver):
    """An Observer and a Sink: when each frame came, what was lost, and what each score was made of."""

    def __init__(self) -> None:
        self.arrived_s: dict[str, list[float]] = {CAMERA: [], BESIDE: []}
        self.drawn_s: dict[str, list[float]] = {CAMERA: [], BESIDE: []}
        self.reasons: list[tuple[str, str]] = []
        self.lost_s: dict[str, list[float]] = {CAMERA: [], BESIDE: []}
        """When a source was lost, or an attempt to open it failed."""
        self.states: dict[str, StreamState] = {}
        self.scores: list[Scored] = []

    def frame_arrived(self, stream: StreamName, arrived_ns: int) -> None:
        self.arrived_s.setdefault(stream, []).append(arrived_ns / 1e9)

    def stage_took(self, stream: StreamName, stage: str, seconds: float) -> None:  # noqa: ARG002
        if stage == "overlay":
            self.drawn_s.setdefault(stream, []).append(time.monotonic())

    def stream_state(self, stream: StreamName, state: StreamState) -> None:
        self.states[stream] = state

    def reconnected(self, stream: StreamName, reason: str) -> None:
        self.reasons.append((stream, reason))
        self.lost_s.setdefault(stream, []).append(time.monotonic())

    def publish(self, scene: Scene) -> None:
        for face in scene.faces:
            if face.scored_pts_ns is not None:
                self.scores.append(Scored(scene.stream, face.scored_pts_ns / 1e9, sum(face.slots)))

    def close(self) -> None:
        """Nothing is open."""

    def reasons_of(self, stream: str) -> set[str]:
        return {reason for name, reason in self.reasons if name == stream}

    def is_playing(self, stream: str = CAMERA) -> bool:
        return self.states.get(stream) is StreamState.PLAYING

    def scores_of(self, stream: str) -> list[Scored]:
        return [score for score in self.scores if score.stream == stream]

    def longest_gap_s(self, since_s: float, stream: str = BESIDE) -> float:
        times = [since_s, *(at for at in self.arrived_s[stream] if at > since_s)]
        return float(np.diff(times).max()) if len(times) > 1 else float("inf")


class Watching:
    """``unmask watch`` without its terminal, until ``stop``."""

    def __init__(self, config: AppConfig, model: Model) -> None:
        self.witness, self.model = Witness(), model
        self.started: Started | None = None
        self.result: WatchResult | None = None
        self.failure: BaseException | None = None
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(config,), name="watching")
        self._thread.start()
        wait_until(lambda: self.started is not None or self.failure is not None, "the start")

    def _run(self, config: AppConfig) -> None:
        def started(what: Started) -> None:
            self.started = what

        try:
            self.result = watch(
                config,
                stop=self.stop,
                parts=self.model.parts,
                sinks=[self.witness],
                observers=[self.witness],
                on_started=started,
            )
        except BaseException as error:
            self.failure = error

    @property
    def metrics_url(self) -> str:
        assert self.started is not None
        assert self.started.metrics_url is not None
        return self.started.metrics_url

    def metric(self, name: str, **labels: str) -> float:
        """Scraped as Prometheus does it; 0 for a series that is not there."""
        return scraped(self.metrics_url).get((name, frozenset(labels.items())), 0.0)

    def reconnects(self, reason: str, stream: str = CAMERA) -> float:
        return self.metric("unmask_stream_reconnects_total", stream=stream, reason=reason)

    def shows(self, state: StreamState, stream: str = CAMERA) -> bool:
        return self.metric("unmask_stream_state", stream=stream, state=state.value) == 1.0

    def await_scores(self, stream: str = CAMERA, more: int = 1) -> None:
        before = len(self.witness.scores_of(stream))
        wait_until(lambda: len(self.witness.scores_of(stream)) >= before + more, f"scores of {stream}")

    def end(self) -> None:
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the watch does not end"


def scraped(url: str) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    text = urllib.request.urlopen(url, timeout=30).read().decode()
    families = text_string_to_metric_families(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def config_of(*streams: StreamConfig, **changes: Any) -> AppConfig:
    values = {
        "streams": list(streams),
        "display": False,
        "metrics": MetricsConfig(port=0),
        "quality": {"min_sharpness": 0.0, "min_brightness": 0.0},
        "analysis": {"calm_every": 1},
        "retry": RETRY,
        **changes,
    }
    return AppConfig.model_validate(values)


def beside() -> StreamConfig:
    """A healthy stream that no fault may touch: made in the process, so that no network is in between."""
    return StreamConfig(source="test:smpte", name=BESIDE)


@contextmanager
def watching(*streams: StreamConfig, model: Model | None = None, **changes: Any) -> Iterator[Watching]:
    run = Watching(config_of(*streams, **changes), model or Model())
    try:
        yield run
    finally:
        run.end()


def camera_at(url: str, **details: Any) -> StreamConfig:
    return StreamConfig(source=url, name=CAMERA, **details)


def check_no_window_spans(run: Watching) -> None:
    """A live segment's time begins at 0: a window that reaches back over its start holds more samples than fit.

    And no window holds pictures of before the fault beside pictures of after it.
    """
    period_s = run.model.parts.model.spec.window.period_s
    too_many = [score for score in run.witness.scores if score.samples > score.pts_s / period_s + 2]
    assert too_many == []
    assert run.model.windows > 0
    assert run.model.mixed == 0


def check_comes_back(run: Watching, mended_s: float) -> None:
    """Within twice the backoff: one attempt that was under way may fail yet, and the one after the next wait plays.

    What RTSP's own handshake takes comes on top; new pictures, not a state, say that the camera is back.
    """
    witness = run.witness
    wait_until(lambda: witness.is_playing() and witness.arrived_s[CAMERA][-1:] > [mended_s], "the camera again")
    back_s = next(at for at in witness.arrived_s[CAMERA] if at > mended_s)
    failed_s = [at for at in witness.lost_s[CAMERA] if mended_s < at < back_s]
    assert len(failed_s) <= 1, "an attempt that began after the mend has failed"
    tried_by_s = max([mended_s, *failed_s]) + RETRY.longest_s
    assert tried_by_s <= mended_s + BACK_WITHIN_S
    assert back_s <= tried_by_s + CONNECTS_IN_S
    run.await_scores(more=3)
    check_no_window_spans(run)


def check_beside_went_on(run: Watching, since_s: float) -> None:
    """No loss, no long gap, and hardly a frame less than it sends."""
    assert run.witness.reasons_of(BESIDE) == set()
    assert run.witness.longest_gap_s(since_s) < LONGEST_GAP_S
    came = [at for at in run.witness.arrived_s[BESIDE] if at > since_s]
    assert len(came) >= 0.9 * BESIDE_FPS * (came[-1] - since_s - LONGEST_GAP_S)
