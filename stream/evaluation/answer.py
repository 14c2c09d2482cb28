"""What one run found, as the JSON object, as lines for people, and as the report's header."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass, field
from typing import Any

from engines.catalog import DEFAULT_MODEL
from engines.training.evaluate import Evaluation, numbers_of
from engines.training.evaluation_json import counts_json, evaluation_json, robustness_json, rounded, transfer_json
from engines.training.floor import FEATURES
from engines.training.report.page import Transfer
from engines.training.robustness import Step
from stream.evaluation.sets import STILLS, DataSet, SetScores


@dataclass(repr=False)
class Findings:
    """Everything that one run found."""

    data: DataSet
    scores: SetScores
    evaluation: Evaluation
    transfers: list[tuple[DataSet, SetScores, Transfer]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    steps_items: int = 0


def answer_json(findings: Findings, options: argparse.Namespace) -> dict[str, Any]:
    """The one object that ``--json`` prints; docs/evaluating.md names its keys."""
    scores = findings.scores
    return {
        "format": 1,
        "command": command_of(options),
        **findings.data.to_json(),
        "model": scores.spec.name,
        "weights_sha256": scores.spec.files,
        "runtime": scores.runtime,
        "scored_by": scores.way,
        **evaluation_json(findings.evaluation),
        **rounded(scores.facts),
        "floor": None if scores.floor is None else {"auc": rounded(scores.floor), "features": list(FEATURES)},
        "transfer": [_transfer_json(*one) for one in findings.transfers],
        "robustness": {"items": findings.steps_items, "steps": robustness_json(findings.steps)}
        if findings.steps
        else None,
    }


def _transfer_json(data: DataSet, scores: SetScores, found: Transfer) -> dict[str, Any]:
    return {
        **data.to_json(),
        **counts_json(scores.scored),
        **rounded(numbers_of(scores.scored)),
        "thresholds": transfer_json(found.points),
    }


def command_of(options: argparse.Namespace) -> str:
    """What to type to get the same numbers again."""
    words = ["unmask", "evaluate", "--dataset", options.dataset, "--root", str(options.root)]
    words += ["--split", options.split] if options.dataset == STILLS else []
    words += ["--model", options.model or DEFAULT_MODEL]
    changed = {
        "--limit": (options.limit, 0),
        "--margin": (options.margin, 1.0),
        "--bootstrap": (options.bootstrap, 500),
    }
    words += [text for name, (value, usual) in changed.items() if value != usual for text in (name, f"{value:g}")]
    words += ["--detector", options.detector] if options.detector else []
    words += ["--detector-weights", str(options.detector_weights)] if options.detector_weights else []
    words += [] if options.mirror is None else ["--mirror" if options.mirror else "--no-mirror"]
    words += ["--compare", *options.compare] if options.compare else []
    words += ["--robustness", str(options.robustness)] if options.robustness is not None else []
    return shlex.join(words)


def lines_of(answer: dict[str, Any]) -> list[str]:
    """The main numbers for people."""
    names = ("auc", "eer", "tpr_at_fpr_1", "ap", "log_loss", "ece", "brier", "accuracy", "majority_accuracy")
    head = f"{answer['model']} on {answer['dataset']} {answer['root']} {answer['split'] or ''}".rstrip()
    lines = [
        f"{head}: {answer['items']} items ({answer['real']} real, {answer['fake']} fake), {answer['sources']} sources"
    ]
    lines += [f"  {name:<18} {_worded(answer[name])}{_between(answer['intervals'].get(name))}" for name in names]
    if answer["floor"] is not None:
        lines.append(f"  {'trivial floor auc':<18} {_worded(answer['floor']['auc'])}")
    counted = {"missing": "pictures are missing", "unscored": "clips had no scored face"}
    lines += [f"  {answer[key]} {words}" for key, words in counted.items() if answer.get(key)]
    return lines


def _worded(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _between(interval: list[float | None] | None) -> str:
    return "" if interval is None else f"  ({_worded(interval[0])} – {_worded(interval[1])})"


def facts_of(answer: dict[str, Any]) -> dict[str, str]:
    hashes = ", ".join(f"{name} {digest[:16]}…" for name, digest in answer["weights_sha256"].items())
    notes = {
        "missing": "pictures missing",
        "leaking": "with a source that has items in another split",
        "unscored": "clips without a scored face, left out",
    }
    return {
        "model": f"{answer['model']}: {answer['scored_by']}, {answer['runtime']}",
        "weights, SHA-256": hashes,
        "data": f"{answer['dataset']} {answer['root']} {answer['split'] or ''}".rstrip(),
        "items": "{items:,}: {real:,} real, {fake:,} fake, of {sources:,} sources".format_map(answer),
        **{words: f"{answer[key]:,}" for key, words in notes.items() if answer.get(key)},
        "took": f"{answer['seconds']:.0f} s",
    }
