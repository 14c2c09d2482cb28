"""``unmask extract``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands, add_detector_options, positive, positive_int


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "extract",
        help="cut a data set's videos into face tracks for training",
        description="Find, track and cut faces as the live detector does; a run that was stopped goes on.",
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="dfdc, celeb-df, faceforensics or clips")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the tracks")
    parser.add_argument("--split", metavar="NAME", help="only this split")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="at most so many videos")
    parser.add_argument("--size", type=positive_int, metavar="PIXELS", help="side of a crop (default 256)")
    parser.add_argument("--margin", type=positive, metavar="X", help="side in training crops (default 1.0)")
    often = parser.add_mutually_exclusive_group()
    often.add_argument("--period", type=positive, metavar="SECONDS", help="between two crops (default 0.2)")
    often.add_argument("--fps", type=positive, help="crops a second, instead")
    parser.add_argument("--force-leaky-split", action="store_true", help="go on though sources lie in two splits")
    add_detector_options(parser)
    parser.set_defaults(run=_extract)


def _extract(options: argparse.Namespace) -> int:
    from stream.dataset.cutter import CutSettings
    from stream.dataset.extract import Order, run_extract
    from stream.watch_options import score_config

    config = score_config(options)
    given = {
        "size": options.size,
        "margin": options.margin,
        "period_s": 1 / options.fps if options.fps else options.period,
        "detect_period_s": 1 / config.detector.rate_hz,
        "detector": config.detector.name,
    }
    settings = CutSettings(**{key: value for key, value in given.items() if value is not None})
    order = Order(options.dataset, options.root, options.split, options.limit, options.force_leaky_split)
    return run_extract(order, options.out, settings, config)
