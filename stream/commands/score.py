"""``unmask score``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands, add_backend_option, add_detector_options


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "score",
        help="score files as fast as this machine goes",
        description="Run the live detector over files; prints a line per file and per face.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object per file instead")
    add_detector_options(parser)
    add_backend_option(parser)
    parser.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    from stream.score import score_files
    from stream.watch_options import score_config

    return score_files(options.files, score_config(options), as_json=options.json)
