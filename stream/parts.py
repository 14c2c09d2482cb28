"""Model, detector and analysis built from a configuration: what ``watch`` and ``score`` share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from engines.catalog import BACKBONE_FILE, DEFAULT_MODEL, LoadedModel, graph_of, model_folder, open_model
from engines.engine_choice import AUTO, open_fastest
from engines.errors import EngineError, RuntimeMissingError
from engines.runtime.ports import Backend
from engines.runtime.swappable import Fallback, RuntimeChange, SwappableBackend
from engines.runtime.table import ALWAYS, require, runtime
from engines.spec import ModelSpec
from stream.config import AppConfig, QualityConfig, StreamConfig
from stream.errors import ModelError, UsageError
from stream.faces.open import detector_graph, open_detector
from stream.faces.quality import QualityLimits
from stream.faces.tracker import open_tracker
from stream.gpu_preparation import GpuPreparation
from stream.hot_start import HotStart
from stream.observers import StreamFacts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.ports import FaceDetector, Observer, Witness
from stream.scheduling.overload import OverloadPolicy
from stream.scheduling.plan import CalmPolicy, Limits, Priority, StreamPlan, longest_stride
from stream.scheduling.scheduler import SchedulingPolicy
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import StreamName

log = logging.getLogger(__name__)

BUILDER = (
    sys.executable,
    "-c",
    "import sys; sys.path.remove(''); from stream.engine_builds import main; sys.exit(main())",
    "--json",
)
"""Without the current folder, where anybody's ``json.py`` may lie."""
CALM_SHARE = 0.6
"""Of ``real_at``: a face is calm below a probability of 0.21 where 0.35 is real."""


Wrap = Callable[[str, Backend], Backend]
"""Puts something around what runs a network; told its stage: ``detect``, ``embed`` or ``head``."""


@dataclass(frozen=True)
class Parts:
    """Everything of the analysis that is loaded once per process."""

    model: LoadedModel
    detector: FaceDetector
    scorer: ModelScorer
    preparation: GpuPreparation | None = None
    """Of frames on the GPU, where the backbone reads its memory."""
    backbone: SwappableBackend | None = None
    """The model's, where its runtime can change while it runs."""

    def close(self) -> None:
        if self.preparation is not None:
            self.preparation.close()
        self.model.close()


def open_parts(
    config: AppConfig,
    *,
    threads: int | None = None,
    on_change: Callable[[RuntimeChange], None] = lambda _: None,
    wrap: Wrap = lambda _, backend: backend,
) -> Parts:
    """Load model and detector. Raises ModelError or MissingPartError with one line that says what to do.

    ``on_change`` is told, besides the log, when the backbone's runtime changes; it must return at once. ``wrap`` is
    for who measures: the wrapped backends are what runs.
    """

    def changed(change: RuntimeChange) -> None:
        _log_change(change)
        on_change(change)
        preparation.follow()

    count = _threads(config, threads)
    try:
        opened = _open_model(config, count)
        backbone = _swappable(config, opened, count, changed)
        model = replace(opened, backbone=wrap("embed", backbone), head=wrap("head", opened.head))
        scorer = ModelScorer(model.backbone, model.head, model.spec)
        detector = open_detector(
            config.detector.name,
            weights=config.detector.weights,
            threads=count,
            confidence=config.detector.confidence,
            width=config.detector.width,
            wrap=lambda backend: wrap("detect", _detecting(config, backend, count, changed)),
        )
    except EngineError as error:
        raise ModelError(str(error)) from error
    preparation = GpuPreparation(model.backbone, (scorer, detector))
    preparation.follow()
    return Parts(model, detector, scorer, preparation, backbone)


def hot_start(config: AppConfig, parts: Parts) -> HotStart | None:
    """What builds this model's engines in the background; None where that is not wanted."""
    if config.model.build == "off" or parts.backbone is None:
        return None
    name, spec, count = model_name(config), parts.model.spec, _threads(config, None)
    graph = graph_of(spec, model_folder(name), BACKBONE_FILE)
    backend = config.model.backend
    wanted = () if backend == AUTO else ("--runtime", backend)
    return HotStart(
        parts.backbone,
        (*BUILDER, "--model", name, *wanted),
        lambda: open_fastest(graph, backend=backend, threads=count),
        running=(parts.backbone.name, parts.model.engine),
    )


def model_name(config: AppConfig) -> str:
    """Its name in the catalog, or its folder."""
    return str(config.model.folder or config.model.name or DEFAULT_MODEL)


def _threads(config: AppConfig, threads: int | None) -> int:
    return config.model.threads or threads or max(1, (os.cpu_count() or 2) // 2)


def _open_model(config: AppConfig, threads: int) -> LoadedModel:
    """Where engines are built while it runs, one that is still missing is no hindrance."""
    name, backend = model_name(config), config.model.backend
    try:
        return open_model(name, backend=backend, threads=threads)
    except RuntimeMissingError as error:
        if config.model.build == "off":
            raise
        require(backend)
        log.warning("%s; starting on %s while it is built", error, ALWAYS)
        return open_model(name, backend=ALWAYS, threads=threads)


def _swappable(
    config: AppConfig, model: LoadedModel, threads: int, on_change: Callable[[RuntimeChange], None]
) -> SwappableBackend:
    """The backbone, which falls back to its graph on ONNX Runtime's CPU."""
    path = model_folder(model_name(config)) / BACKBONE_FILE
    fallback = Fallback(ALWAYS, lambda: runtime(ALWAYS).open_graph(path, threads=threads))
    return SwappableBackend(
        model.backbone,
        on_change,
        model=model.spec.name,
        graph=BACKBONE_FILE,
        fallback=fallback,
        runs_fallback=not model.is_engine and model.backbone.name == ALWAYS,
    )


def _detecting(
    config: AppConfig, backend: Backend, threads: int, on_change: Callable[[RuntimeChange], None]
) -> SwappableBackend:
    """The detector, which falls back likewise; an engine of one picture size is followed in that size."""
    given = config.detector

    def opened() -> Backend:
        return runtime(ALWAYS).open_graph(detector_graph(given.name, given.weights).source, threads=threads)

    fallback, runs_fallback = Fallback(ALWAYS, opened), backend.name == ALWAYS
    return SwappableBackend(
        backend, on_change, model=given.name, graph=f"{given.name}.onnx", fallback=fallback, runs_fallback=runs_fallback
    )


def _log_change(change: RuntimeChange) -> None:
    if change.reason == "failed":
        log.warning("%s failed on %s (%s): going on with %s", change.model, change.before, change.detail, change.after)
    else:
        log.info("%s changes from %s to %s (%s)", change.model, change.before, change.after, change.detail)


def build_analyzer(
    config: AppConfig, parts: Parts, observer: Observer, facts: StreamFacts, witness: Witness | None = None
) -> Analyzer:
    return Analyzer(
        parts.detector,
        parts.scorer,
        observer,
        facts,
        detect_period_s=1 / config.detector.rate_hz,
        quality=quality_limits(config.quality),
        scheduling=scheduling_policy(config, parts.model.spec),
        before_step=(lambda: None) if parts.preparation is None else parts.preparation.settle,
        witness=witness,
    )


def build_analysis(
    config: AppConfig, parts: Parts, name: StreamName, *, plan: StreamPlan | None = None, keeps_summaries: bool = False
) -> StreamAnalysis:
    """One stream's memory; ``plan``: None is a file's.

    ``keeps_summaries``: of every track. Without it none is kept: nobody asks a watch for them, and it never ends.
    """
    spec = parts.model.spec
    policy = config.scoring.policy(spec)
    book = TrackBook(spec, policy, keeps_summaries=keeps_summaries)
    return StreamAnalysis(name, open_tracker(lost_after_s=config.tracker.lost_after_s), book, plan or StreamPlan())


def plan_of(stream: StreamConfig, spec: ModelSpec, *, is_live: bool) -> StreamPlan:
    """What a configured stream asks for. Raises UsageError when the model's windows cannot be that sparse."""
    longest = longest_stride(spec.window)
    if stream.sample_every > longest:
        raise UsageError(
            f"stream {stream.name}: sample_every {stream.sample_every} leaves {spec.name} too few samples: "
            f"at most {longest}"
        )
    period_ns = None if stream.detect_rate_hz is None else round(1e9 / stream.detect_rate_hz)
    return StreamPlan(is_live, Priority(stream.priority), stream.sample_every, period_ns)


def scheduling_policy(config: AppConfig, spec: ModelSpec) -> SchedulingPolicy:
    """How live streams share the analysis; a face is calm well below what the model calls real."""
    analysis, real_at = config.analysis, config.scoring.policy(spec).real_at
    return SchedulingPolicy(
        Limits(analysis.max_batch, analysis.max_detections),
        CalmPolicy(analysis.calm_every, analysis.calm_after_s, below=real_at * CALM_SHARE),
        OverloadPolicy(analysis.busy_above, busy_below=analysis.busy_above / 2, clear_below=analysis.busy_above / 3),
        round(analysis.batch_window_ms * 1e6),
    )


def quality_limits(config: QualityConfig) -> QualityLimits:
    """The gate's own limits with the configured ones in their place."""
    return QualityLimits(**{key: value for key, value in config.model_dump().items() if value is not None})
