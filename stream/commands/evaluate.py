"""``unmask evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands, add_detector_options, count, positive


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on labelled stills or clips",
        description="Measure how well a model tells fakes from reals; docs/evaluating.md says what each number means.",
    )
    parser.add_argument(
        "--dataset", choices=("deepfake-faces", "clips"), required=True, help="stills, or labelled clips"
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the set")
    parser.add_argument("--split", default="val", help="of stills: a name in the split column, or all (default val)")
    parser.add_argument("--json", action="store_true", help="one JSON object with every number")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html and its charts there")
    parser.add_argument("--scores", type=Path, metavar="FILE.csv", help="write the score of every item")
    parser.add_argument("--limit", type=count, default=0, metavar="N", help="at most N items, drawn at random")
    parser.add_argument("--bootstrap", type=count, default=500, metavar="N", help="resamples (default 500; 0: none)")
    parser.add_argument("--margin", type=positive, default=1.0, metavar="X", help="crop X times as wide (default 1)")
    parser.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        help="stills: average each crop with its mirror image (default: as the model's spec says)",
    )
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="SET",
        help="use this set's thresholds on others: deepfake-faces:DIR:SPLIT or clips:DIR",
    )
    parser.add_argument(
        "--robustness",
        type=count,
        nargs="?",
        const=1000,
        metavar="N",
        help="stills: AUC under JPEG, H.264, scaling, blur and noise, on N of them (default 1000; 0: all)",
    )
    parser.add_argument("--training-log", type=Path, metavar="FILE.csv", help="draw its learning curves in the report")
    add_detector_options(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from stream.evaluation.run import run_evaluate

    return run_evaluate(options)
