"""The command: score, measure, write what was asked for, print."""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

from engines.training.errors import TrainingError
from engines.training.evaluate import evaluate, rankings, transfer
from engines.training.report.curves import evaluation_charts, reliability_charts, robustness_charts
from engines.training.report.learning import learning_charts
from engines.training.report.page import Page, Transfer, write_report
from engines.training.robustness import require_codecs
from engines.training.scored import Scored
from stream.errors import MissingPartError, OutputError, UsageError
from stream.evaluation.answer import Findings, answer_json, facts_of, lines_of
from stream.evaluation.progress import Telling, telling
from stream.evaluation.sets import STILLS, DataSet, dataset_of, robustness_of, score_set


def run_evaluate(options: argparse.Namespace) -> int:
    """Returns the exit code. Raises UnmaskError and EngineError with one line."""
    began = time.monotonic()
    data = DataSet(options.dataset, options.root, options.split)
    others = [dataset_of(text) for text in options.compare]
    _check(options, data)
    with telling() as told:
        findings = _findings(data, others, options, told)
    answer = {**answer_json(findings, options), "seconds": round(time.monotonic() - began, 1)}
    if options.scores is not None:
        _write_scores(options.scores, findings.scores.scored)
    if options.report is not None:
        _write_page(options.report, findings, answer, options)
    print(json.dumps(answer) if options.json else "\n".join(lines_of(answer)), flush=True)
    return 0


def _check(options: argparse.Namespace, data: DataSet) -> None:
    """Say what is wrong before the long run, not after it."""
    if options.robustness is not None:
        _check_robustness(data)
    if options.training_log is not None:
        _check_training_log(options)
    try:
        if options.report is not None:
            options.report.mkdir(parents=True, exist_ok=True)
        if options.scores is not None:
            options.scores.touch()
    except OSError as error:
        raise OutputError(f"cannot write {error.filename}: {error.strerror}; choose another place") from error


def _check_robustness(data: DataSet) -> None:
    if data.kind != STILLS:
        raise UsageError(f"--robustness degrades stills: use it with --dataset {STILLS}")
    try:
        require_codecs()
    except TrainingError as error:
        raise MissingPartError(str(error)) from error


def _check_training_log(options: argparse.Namespace) -> None:
    try:
        learning_charts(options.training_log)
    except TrainingError as error:
        raise UsageError(str(error)) from error
    if options.report is None:
        raise UsageError("--training-log is drawn in the report: say where with --report DIR")


def _findings(data: DataSet, others: list[DataSet], options: argparse.Namespace, told: Telling) -> Findings:
    scores = score_set(data, options, told)
    found = Findings(data, scores, evaluate(scores.scored, resamples=options.bootstrap))
    for other in others:
        abroad = score_set(other, options, told)
        found.transfers.append((other, abroad, _transfer(other, scores.scored, abroad.scored)))
    if options.robustness is not None:
        found.steps, found.steps_items = robustness_of(data, options, told)
    return found


def _transfer(other: DataSet, home: Scored, abroad: Scored) -> Transfer:
    auc = rankings(abroad.labels, abroad.logits)["auc"]
    return Transfer(other.name, len(abroad.items), auc, transfer(home, abroad))


def _write_page(folder: Path, findings: Findings, answer: dict[str, Any], options: argparse.Namespace) -> None:
    page = Page(
        title=f"{answer['model']} on {findings.data.name}",
        facts=facts_of(answer),
        command=answer["command"],
        evaluation=findings.evaluation,
        floor_auc=findings.scores.floor,
        transfers=tuple(found for _, _, found in findings.transfers),
        charts=evaluation_charts(findings.evaluation),
        reliability=reliability_charts(findings.evaluation.calibration),
        robustness=robustness_charts(findings.steps) if findings.steps else {},
        learning=learning_charts(options.training_log) if options.training_log is not None else {},
    )
    try:
        write_report(folder, page)
        (folder / "report.json").write_text(json.dumps(answer, indent=1) + "\n")
    except (TrainingError, OSError) as error:
        raise OutputError(str(error)) from error


def _write_scores(path: Path, scored: Scored) -> None:
    try:
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["name", "label", "source", "fake_probability", "logit"])
            for item, probability, logit in zip(scored.items, scored.probabilities, scored.logits, strict=True):
                label = "FAKE" if item.is_fake else "REAL"
                rows.writerow([item.name, label, item.source, f"{probability:.6f}", f"{logit:.6f}"])
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another file") from error
