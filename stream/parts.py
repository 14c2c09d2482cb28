"""Model, detector and analysis built from a configuration: what ``watch`` and ``score`` share."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engines.catalog import DEFAULT_MODEL, LoadedModel, open_model
from engines.cuda.choice import preprocessor_for
from engines.cuda.ports import Preprocessor
from engines.errors import EngineError
from engines.spec import ModelSpec
from stream.config import AppConfig, QualityConfig, StreamConfig
from stream.errors import ModelError, UsageError
from stream.faces.open import open_detector
from stream.faces.quality import QualityLimits
from stream.faces.tracker import open_tracker
from stream.observers import StreamFacts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.ports import FaceDetector, Observer
from stream.scheduling.overload import OverloadPolicy
from stream.scheduling.plan import CalmPolicy, Limits, Priority, StreamPlan, longest_stride
from stream.scheduling.scheduler import SchedulingPolicy
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import StreamName

CALM_SHARE = 0.6
"""Of ``real_at``: a face is calm below a probability of 0.21 where 0.35 is real."""


@dataclass(frozen=True)
class Parts:
    """Everything of the analysis that is loaded once per process."""

    model: LoadedModel
    detector: FaceDetector
    scorer: ModelScorer
    preprocessor: Preprocessor | None = None
    """Where the backbone reads the GPU's memory."""

    def close(self) -> None:
        if self.preprocessor is not None:
            self.preprocessor.close()
        self.model.close()


def open_parts(config: AppConfig, *, threads: int | None = None) -> Parts:
    """Load model and detector. Raises ModelError or MissingPartError with one line that says what to do."""
    count = config.model.threads or threads or max(1, (os.cpu_count() or 2) // 2)
    try:
        model = open_model(
            str(config.model.folder or config.model.name or DEFAULT_MODEL), backend=config.model.backend, threads=count
        )
        scorer = ModelScorer(model.backbone, model.head, model.spec)
        detector = open_detector(
            config.detector.name,
            weights=config.detector.weights,
            threads=count,
            confidence=config.detector.confidence,
            width=config.detector.width,
        )
    except EngineError as error:
        raise ModelError(str(error)) from error
    preprocessor = preprocessor_for(model.backbone)
    scorer.prepare_on(preprocessor)
    detector.prepare_on(preprocessor)
    return Parts(model, detector, scorer, preprocessor)


def build_analyzer(config: AppConfig, parts: Parts, observer: Observer, facts: StreamFacts) -> Analyzer:
    return Analyzer(
        parts.detector,
        parts.scorer,
        observer,
        facts,
        detect_period_s=1 / config.detector.rate_hz,
        quality=quality_limits(config.quality),
        scheduling=scheduling_policy(config, parts.model.spec),
    )


def build_analysis(
    config: AppConfig, parts: Parts, name: StreamName, *, plan: StreamPlan | None = None, keep_all: bool = False
) -> StreamAnalysis:
    """One stream's memory; ``plan``: None is a file's; ``keep_all`` keeps every track's summary, for files."""
    spec = parts.model.spec
    policy = config.scoring.policy(spec)
    book = TrackBook(spec, policy, ended_limit=None) if keep_all else TrackBook(spec, policy)
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
        OverloadPolicy(analysis.busy_above, analysis.busy_above / 2),
        round(analysis.batch_window_ms * 1e6),
    )


def quality_limits(config: QualityConfig) -> QualityLimits:
    """The gate's own limits with the configured ones in their place."""
    return QualityLimits(**{key: value for key, value in config.model_dump().items() if value is not None})
