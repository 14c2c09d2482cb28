"""Model, detector and analysis built from a configuration: what ``watch`` and ``score`` share."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engines.catalog import DEFAULT_MODEL, LoadedModel, open_model
from engines.cuda.choice import preprocessor_for
from engines.cuda.ports import Preprocessor
from engines.errors import EngineError
from stream.config import AppConfig, QualityConfig
from stream.errors import ModelError
from stream.faces.open import open_detector
from stream.faces.quality import QualityLimits
from stream.faces.tracker import open_tracker
from stream.observers import StreamFacts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.ports import FaceDetector, Observer
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import StreamName


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
    )


def build_analysis(config: AppConfig, parts: Parts, name: StreamName, *, keep_all: bool = False) -> StreamAnalysis:
    """One stream's memory; ``keep_all`` keeps every track's summary, for files."""
    spec = parts.model.spec
    policy = config.scoring.policy(spec)
    book = TrackBook(spec, policy, ended_limit=None) if keep_all else TrackBook(spec, policy)
    return StreamAnalysis(name, open_tracker(lost_after_s=config.tracker.lost_after_s), book)


def quality_limits(config: QualityConfig) -> QualityLimits:
    """The gate's own limits with the configured ones in their place."""
    return QualityLimits(**{key: value for key, value in config.model_dump().items() if value is not None})
