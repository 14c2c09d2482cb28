"""What was seen of the streams during a measurement, and the numbers made of it. Pure but for the recorder's lists."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from stream.observers import SilentObserver
from stream.types import Scene, StreamName, StreamState

FULL_RATE = 0.98
"""A stream whose video keeps this share of the camera's pictures plays at full rate: the window's ends cut some off."""
LATENCY_BOUND_MS = 1000.0
SAMPLED_SHARE = 0.8
"""Of the samples that a stream's faces want, how many must be taken: fewer is a detector that looks away."""
NOT_WANTED = ("configured", "calm")
"""Why a slot is left empty though the machine would have had the time."""
OWN_THREADS = ("decode", "overlay")
"""Stages that each have threads of their own, which tell of them."""


@dataclass(frozen=True)
class Scored:
    """One scene in which at least one face was scored anew."""

    pts_ns: int
    captured_ns: int
    published_ns: int


@dataclass(frozen=True)
class Rates:
    """What a camera sends, and what the model wants of a face."""

    camera_fps: float
    slots_per_s: float


@dataclass(frozen=True)
class Counts:
    """Counted since the recorder began."""

    drops: Counter[tuple[StreamName, str]] = field(default_factory=Counter)
    skips: Counter[tuple[StreamName, str]] = field(default_factory=Counter)


class Recorder(SilentObserver):
    """An Observer and a Sink that only appends; one stream's lists have one writer each."""

    def __init__(self, *, video_stage: str | None) -> None:
        """``video_stage``: the stage whose end shows a picture (``overlay``); None: its arrival does."""
        self._video_stage = video_stage
        self._clock: Callable[[], int] | None = None
        self.arrived_ns: dict[StreamName, list[int]] = defaultdict(list)
        self.shown_ns: dict[StreamName, list[int]] = defaultdict(list)
        self.faces: dict[StreamName, list[tuple[int, int, int]]] = defaultdict(list)
        """(published_ns, scored anew, good enough to be sampled) of each scene."""
        self.scored: dict[StreamName, list[Scored]] = defaultdict(list)
        self.drops: Counter[tuple[StreamName, str]] = Counter()
        self.skips: Counter[tuple[StreamName, str]] = Counter()
        """Slots left empty, by the reason."""
        self.state: dict[StreamName, StreamState] = {}
        self.losses: Counter[tuple[StreamName, str]] = Counter()
        """Times that a stream was lost or cut, by the reason."""
        self.fps: dict[StreamName, float] = {}
        """The source's newest measured rate."""
        self.damaged: Counter[StreamName] = Counter()
        self.failed_inferences = 0
        self.threads: dict[int, str] = {}
        """Native id of a thread -> the stage it ends: GStreamer's own names do not tell drawing from encoding."""

    def watch_clock(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def counts(self) -> Counts:
        return Counts(Counter(self.drops), Counter(self.skips))

    def stream_state(self, stream: StreamName, state: StreamState) -> None:
        self.state[stream] = state

    def reconnected(self, stream: StreamName, reason: str) -> None:
        self.losses[stream, reason] += 1

    def frame_arrived(self, stream: StreamName, arrived_ns: int) -> None:
        self.arrived_ns[stream].append(arrived_ns)
        if self._video_stage is None:
            self.shown_ns[stream].append(arrived_ns)

    def frame_damaged(self, stream: StreamName) -> None:
        self.damaged[stream] += 1

    def source_fps(self, stream: StreamName, fps: float) -> None:
        self.fps[stream] = fps

    def inference_failed(self, model: str, backend: str) -> None:  # noqa: ARG002
        self.failed_inferences += 1

    def sample_skipped(self, stream: StreamName, reason: str) -> None:
        self.skips[stream, reason] += 1

    def frame_dropped(self, stream: StreamName, stage: str, reason: str) -> None:  # noqa: ARG002
        self.drops[stream, stage] += 1

    def stage_took(self, stream: StreamName, stage: str, seconds: float) -> None:  # noqa: ARG002
        if stage in OWN_THREADS:
            self.threads[threading.get_native_id()] = stage
        if stage == self._video_stage and self._clock is not None:
            self.shown_ns[stream].append(self._clock())

    def publish(self, scene: Scene) -> None:
        fresh = sum(face.scored_pts_ns == scene.pts_ns for face in scene.faces)
        if scene.state is not StreamState.PLAYING:
            return
        good = sum(face.reason is None for face in scene.faces)
        self.faces[scene.stream].append((scene.published_ns, fresh, max(fresh, good)))
        if fresh:
            self.scored[scene.stream].append(Scored(scene.pts_ns, scene.captured_ns, scene.published_ns))

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class StreamNumbers:
    """One stream over the measured seconds. NaN stands where nothing was seen."""

    name: str
    fps: float
    delivered_fps: float
    """Shown and not dropped afterwards, on the way to an encoder."""
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    """From the camera to the published score: beyond the fastest picture's way through network and decoder."""
    gap_p99_frames: float
    """Between two shown pictures, in times of the camera's period."""
    gap_max_frames: float
    scores_per_s: float
    samples: int
    """Slots of faces that were sampled and scored."""
    samples_wanted: float
    """Slots of faces in view and good enough, but for those that nobody asks for: the configured and the calm ones."""
    score_age_p95_ms: float
    """Of the newest score at any moment: latency and the wait for the next score."""
    video_drops: int
    analysis_skips: int
    """Pictures that a newer one replaced before the analysis was ready for one."""

    @property
    def sampled_share(self) -> float:
        return self.samples / self.samples_wanted if self.samples_wanted > 0 else float("nan")

    def is_full_rate(self, camera_fps: float) -> bool:
        return self.delivered_fps >= FULL_RATE * camera_fps


def numbers_of(recorder: Recorder, before: Counts, name: str, span_ns: tuple[int, int], rates: Rates) -> StreamNumbers:
    """One stream's numbers between two moments; ``before``: what was counted at the first."""
    stream, (begin_ns, end_ns) = StreamName(name), span_ns
    seconds = (end_ns - begin_ns) / 1e9
    shown = within(recorder.shown_ns[stream], span_ns)
    gaps = gaps_in_frames(shown, rates.camera_fps)
    every = list(recorder.scored[stream])
    scored = [score for score in every if begin_ns <= score.published_ns < end_ns]
    latencies = latencies_ms(scored, base_ns(every))
    drops = {stage: recorder.drops[stream, stage] - before.drops[stream, stage] for stage in ("video", "analysis")}
    passed_over = sum(recorder.skips[stream, reason] - before.skips[stream, reason] for reason in NOT_WANTED)
    faces = [entry[1:] for entry in list(recorder.faces[stream]) if begin_ns <= entry[0] < end_ns]
    return StreamNumbers(
        name,
        len(shown) / seconds,
        min(len(shown), len(within(recorder.arrived_ns[stream], span_ns)) - drops["video"]) / seconds,
        latency_p50_ms=percentile(latencies, 50),
        latency_p95_ms=percentile(latencies, 95),
        latency_p99_ms=percentile(latencies, 99),
        gap_p99_frames=percentile(gaps, 99),
        gap_max_frames=max(gaps, default=float("nan")),
        scores_per_s=len(scored) / seconds,
        samples=sum(fresh for fresh, _ in faces),
        samples_wanted=wanted_of([good for _, good in faces], seconds * rates.slots_per_s, passed_over),
        score_age_p95_ms=percentile(ages_ms(scored, base_ns(every), span_ns), 95),
        video_drops=drops["video"],
        analysis_skips=drops["analysis"],
    )


def wanted_of(faces: Sequence[int], slots: float, passed_over: int) -> float:
    """Samples that were wanted, by the faces of each scene, the slots that passed, and those that nobody asked for."""
    return max(0.0, slots * sum(faces) / max(1, len(faces)) - passed_over)


def within(times_ns: Sequence[int], span_ns: tuple[int, int]) -> list[int]:
    return [time_ns for time_ns in list(times_ns) if span_ns[0] <= time_ns < span_ns[1]]


def gaps_in_frames(times_ns: Sequence[int], fps: float) -> list[float]:
    return [float(gap) for gap in np.diff(np.asarray(times_ns, np.int64)) * fps / 1e9]


def base_ns(scored: Sequence[Scored]) -> int:
    """Media time plus this is the moment at which the fastest picture of the stream was decoded."""
    return min((score.captured_ns - score.pts_ns for score in scored), default=0)


def latencies_ms(scored: Sequence[Scored], base: int) -> list[float]:
    return [(score.published_ns - score.pts_ns - base) / 1e6 for score in scored]


def ages_ms(scored: Sequence[Scored], base: int, span_ns: tuple[int, int], step_ns: int = 40_000_000) -> list[float]:
    """Age of the newest score every ``step_ns``, from the first score on."""
    if not scored:
        return []
    moments = np.arange(max(span_ns[0], scored[0].published_ns), span_ns[1], step_ns)
    newest = np.searchsorted([score.published_ns for score in scored], moments, side="right") - 1
    taken = np.asarray([score.pts_ns + base for score in scored])[newest]
    return [float(age) for age in (moments - taken) / 1e6]


def percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(values, share)) if len(values) else float("nan")


def misses_of(stream: StreamNumbers, camera_fps: float) -> tuple[str, ...]:
    """What a stream does not keep: the latency bound, its full rate, or enough of its faces' samples.

    Nothing: it is carried. NaN keeps nothing.
    """
    kept = {
        "latency": stream.latency_p95_ms <= LATENCY_BOUND_MS,
        "rate": stream.is_full_rate(camera_fps),
        "samples": stream.sampled_share >= SAMPLED_SHARE,
    }
    return tuple(what for what, is_kept in kept.items() if not is_kept)


def largest_kept(count: int, carries: Callable[[int], bool]) -> int:
    """From ``count`` down, the first that is carried when it is measured again at full length; 0 when none is."""
    return next((fewer for fewer in range(count, 0, -1) if carries(fewer)), 0)


def largest(carries: Callable[[int], bool], limit: int, first: int = 1) -> int:
    """The largest count that is carried, by doubling from ``first`` and bisection; 0 when not even one is.

    Asks about each count once and takes it that what is too much stays too much.
    """
    good, bad = 0, limit + 1
    count = first
    while count < bad:
        if carries(count):
            good, count = count, min(2 * count, limit) if count < limit else bad
        else:
            bad = count
    while bad - good > 1:
        count = (good + bad) // 2
        good, bad = (count, bad) if carries(count) else (good, count)
    return good


def rounded(value: Any) -> Any:
    """For JSON: dataclasses to objects, numbers to three places, NaN to null."""
    if hasattr(value, "__dataclass_fields__"):
        return rounded(asdict(value))
    if isinstance(value, dict):
        return {str(key): rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    if isinstance(value, float):
        return round(value, 3) if np.isfinite(value) else None
    return value
