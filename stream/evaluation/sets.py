"""A set of labelled items scored by a model: stills through its graphs, clips through the live path."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.catalog import DEFAULT_MODEL, LoadedModel, open_model
from engines.spec import ModelSpec
from engines.training.errors import TrainingError
from engines.training.evaluate import by_video, numbers_of, rankings, with_unscored
from engines.training.evaluation_json import rounded
from engines.training.floor import floor_scores
from engines.training.labelled_clips import find_clips
from engines.training.metrics import roc_auc
from engines.training.robustness import PASSES, Step, robustness
from engines.training.scored import Scored
from engines.training.still_scores import Framing, ScoredStills, StillScorer, score_stills
from engines.training.stills import open_stills, read_stills, sample
from stream.errors import SourceError, UsageError
from stream.evaluation.progress import Telling
from stream.watch_options import score_config

STILLS, CLIPS = "deepfake-faces", "clips"
FEWEST_FOR_FLOOR = 100
"""Items below which ten features explain anything."""


@dataclass(frozen=True)
class DataSet:
    """Where labelled items lie."""

    kind: str
    root: Path
    split: str
    """Of stills; clips have none."""

    @property
    def name(self) -> str:
        return f"{self.root.name} {self.split}" if self.kind == STILLS else f"clips of {self.root.name}"

    def to_json(self) -> dict[str, Any]:
        return {"dataset": self.kind, "root": str(self.root), "split": self.split if self.kind == STILLS else None}


@dataclass(frozen=True, repr=False)
class SetScores:
    """A model's word on one set, and what is told of the set beside the numbers."""

    scored: Scored
    spec: ModelSpec
    runtime: str
    way: str
    """What of the model scored an item, for people."""
    facts: dict[str, Any]
    """Keys of the JSON answer that only this kind of set has."""
    floor: float | None = None
    """AUC of the baseline without a network."""


def dataset_of(text: str) -> DataSet:
    """``deepfake-faces:FOLDER:SPLIT`` or ``clips:FOLDER``. Raises UsageError."""
    kind, _, rest = text.partition(":")
    root, _, split = rest.rpartition(":") if kind == STILLS else (rest, "", "")
    if kind not in (STILLS, CLIPS) or not root:
        raise UsageError(f"cannot compare with {text!r}: write {STILLS}:FOLDER:SPLIT or {CLIPS}:FOLDER")
    return DataSet(kind, Path(root), split)


def score_set(data: DataSet, options: argparse.Namespace, telling: Telling) -> SetScores:
    """Raises SourceError when the set cannot be read, and what opening the model raises."""
    return _score_stills(data, options, telling) if data.kind == STILLS else _score_clips(data, options, telling)


def _score_stills(data: DataSet, options: argparse.Namespace, telling: Telling) -> SetScores:
    with _as_source():
        found = read_stills(data.root, data.split)
        items = sample(found.items, options.limit)
        model = _model(options)
        scorer = StillScorer(model, Framing(options.margin, options.mirror))
        stills = score_stills(open_stills(data.root, items), scorer, telling.counter(data.name, len(items)))
        model.close()
    scored = stills.scored
    videos = by_video(scored)
    numbers = rankings(videos.labels, videos.logits)
    facts = {
        "missing": len(items) - len(scored.items),
        "leaking": found.leaking,
        "frame_auc": rankings(scored.labels, scored.logits)["auc"],
        "video_auc": numbers["auc"],
        "video": numbers_of(videos) if len(videos.items) < len(scored.items) else None,
    }
    return SetScores(scored, model.spec, model.backbone.name, scorer.way, facts, _floor(stills))


def _model(options: argparse.Namespace) -> LoadedModel:
    return open_model(options.model or DEFAULT_MODEL, threads=options.threads or os.cpu_count() or 1)


def _floor(stills: ScoredStills) -> float | None:
    scored = stills.scored
    if len(scored.items) < FEWEST_FOR_FLOOR or scored.labels.min() == scored.labels.max():
        return None
    return roc_auc(scored.labels, floor_scores(stills.features, scored.labels, scored.sources))


def _score_clips(data: DataSet, options: argparse.Namespace, telling: Telling) -> SetScores:
    from stream.evaluation.clips import score_clips
    from stream.parts import open_parts

    with _as_source():
        found = find_clips(data.root)
    clips = sample(found.clips, options.limit)
    config = score_config(options)
    parts = open_parts(config, threads=os.cpu_count())
    count = telling.counter(data.name, len(clips))
    try:
        results = score_clips(clips, config, parts, options.margin, lambda _: count(1))
    finally:
        parts.close()
    for name, reason in results.failed.items():
        telling.complain(f"{name}: {reason}")
    scored, spec = results.scored(), parts.model.spec
    if not scored.items:
        raise SourceError(f"no face was scored in any of the {len(clips)} clips below {data.root}: see unmask score")
    frames = results.frames(spec)
    facts = {
        "unscored": len(results.unscored),
        "failed": results.failed,
        "unlabelled": list(found.unlabelled),
        **_frame_facts(scored, frames),
        "with_unscored": numbers_of(with_unscored(scored, results.unscored)) if results.unscored else None,
        "clips": [_clip_json(one.item.name, one.item.is_fake, one.score.fake_probability) for one in results.read],
    }
    return SetScores(scored, spec, parts.scorer.backend_name, "live path, most suspicious face of a clip", facts)


def _frame_facts(scored: Scored, frames: Scored) -> dict[str, Any]:
    """The window against single frames: AUC of each sampled face, of a clip, and of the mean of its frame logits."""
    if not frames.items:
        return {"frame_auc": None, "video_auc": rankings(scored.labels, scored.logits)["auc"], "mean_frame_auc": None}
    means = by_video(frames)
    return {
        "frame_auc": rankings(frames.labels, frames.logits)["auc"],
        "video_auc": rankings(scored.labels, scored.logits)["auc"],
        "mean_frame_auc": rankings(means.labels, means.logits)["auc"],
        "frames": len(frames.items),
    }


def _clip_json(name: str, is_fake: bool, probability: float | None) -> dict[str, Any]:
    return {"file": name, "label": "FAKE" if is_fake else "REAL", "fake_probability": rounded(probability)}


def robustness_of(data: DataSet, options: argparse.Namespace, telling: Telling) -> tuple[list[Step], int]:
    with _as_source():
        items = sample(sample(read_stills(data.root, data.split).items, options.limit), options.robustness)
        model = _model(options)
        scorer = StillScorer(model, Framing(options.margin, options.mirror))
        count = telling.counter("robustness", PASSES * len(items))
        steps = robustness(data.root, items, scorer, count)
        model.close()
    return steps, len(items)


@contextmanager
def _as_source() -> Iterator[None]:
    """A set that cannot be read is a source that cannot be read."""
    try:
        yield
    except TrainingError as error:
        raise SourceError(str(error)) from error
