"""What a configuration asks to be kept of an alert: the keeper with all it must know of this run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from engines.catalog import BACKBONE_FILE, HEAD_FILE, SPEC_FILE, graph_of, model_folder
from engines.engine_choice import engines_here
from engines.errors import EngineError
from engines.runtime.table import ALWAYS, runtime
from engines.spec import ModelSpec, load_spec
from engines.store import sha256_of
from stream.config import AppConfig
from stream.evidence.heatmap import Scorer
from stream.evidence.keeper import EvidenceKeeper, KeepingPlan, Tally
from stream.evidence.retention import Limits, Record, no_record
from stream.live_streams import style_of
from stream.parts import Parts, model_name
from stream.release import release
from stream.scoring.scorer import ModelScorer


def open_evidence(
    config: AppConfig, parts: Parts, tally: Tally, closing: ExitStack, record: Record = no_record
) -> EvidenceKeeper | None:
    """The keeper, which ``closing`` closes; None when nothing is to be kept. Raises OutputError for a bad folder."""
    wanted = config.evidence
    if wanted.folder is None:
        return None
    limits = Limits(wanted.keep_days, wanted.keep_bytes)
    style = style_of(config, parts)
    plan = KeepingPlan(wanted.folder, wanted.before_s, wanted.after_s, limits, wanted.blur_others, style)
    folder, spec = _folder_of(config, parts.model.spec), parts.model.spec
    heat = partial(own_scorer, folder, spec) if wanted.heatmap and folder is not None else None
    facts = partial(facts_of, config, parts, folder, parts.scorer.backend_name)
    keeper = EvidenceKeeper(plan, spec.window, facts, tally, record=record, open_scorer=heat)
    closing.callback(keeper.close)
    return keeper


def facts_of(config: AppConfig, parts: Parts, folder: Path | None, began_on: str) -> dict[str, Any]:
    """What scored the faces, by hashes, and what it was told to do. ``began_on``: the backend at the start."""
    spec = parts.model.spec
    model = {
        "name": spec.name,
        "spec_sha256": None if folder is None else sha256_of(folder / SPEC_FILE),
        "graphs": dict(spec.files),
        "backend": parts.scorer.backend_name,
        "engine": _engine(parts, folder, began_on),
    }
    return {"unmask": release(), "model": model, "config_sha256": config_sha256(config)}


def config_sha256(config: AppConfig) -> str:
    """Of the whole configuration, defaults included, as it is dumped: without secrets."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


@contextmanager
def own_scorer(folder: Path, spec: ModelSpec) -> Iterator[Scorer]:
    """The model once more, on the CPU and one thread: the live one is not asked, and its memory is freed afterwards."""
    with ExitStack() as closing:
        graphs = [runtime(ALWAYS).open_graph(folder / file, threads=1) for file in (BACKBONE_FILE, HEAD_FILE)]
        for graph in graphs:
            closing.callback(graph.close)
        yield ModelScorer(graphs[0], graphs[1], spec)


def _folder_of(config: AppConfig, spec: ModelSpec) -> Path | None:
    """Where the model that runs lies; None for one that did not come from this machine's folders."""
    try:
        folder = model_folder(model_name(config))
        return folder if load_spec(folder / SPEC_FILE) == spec else None
    except EngineError:
        return None


def _engine(parts: Parts, folder: Path | None, began_on: str) -> Mapping[str, Any] | None:
    """The engine that runs the backbone, by the hashes of its files; None where the graph itself runs."""
    now_on = parts.scorer.backend_name
    if folder is None or not (parts.model.is_engine or now_on != began_on):
        return None
    found = engines_here(graph_of(parts.model.spec, folder, BACKBONE_FILE), backend=now_on)
    known = {parts.model.engine} if now_on == began_on else {m.key.digest for _, m in found[:1]}
    return next(
        (
            {"runtime": now_on, "precision": m.key.precision, "files": dict(m.files)}
            for _, m in found
            if m.key.digest in known
        ),
        None,
    )
