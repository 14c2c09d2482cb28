"""``unmask bench``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands, add_backend_option, add_detector_options, positive, positive_int


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="how many cameras this machine carries, and where the time goes")
    parser.add_argument(
        "--streams", type=_streams, default=1, metavar="N|auto", help="cameras; auto: the most that fit"
    )
    parser.add_argument(
        "--mode", choices=("score", "restream"), default="score", help="only score, or draw and serve too"
    )
    parser.add_argument("--seconds", type=positive, default=20.0, metavar="S", help="of each measurement (default 20)")
    parser.add_argument("--clip", type=Path, metavar="F", help="video with a face (default: the demo's)")
    add_backend_option(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--stall", action="store_true", help="freeze one camera and look at the others")
    what.add_argument("--compare", action="store_true", help="beside what people would otherwise run")
    what.add_argument("--grow", action="store_true", help="cost by streams, faces and size of the picture")
    add_detector_options(parser)
    parser.set_defaults(run=_bench)


def _streams(text: str) -> int | None:
    return None if text == "auto" else positive_int(text)


def _bench(options: argparse.Namespace) -> int:
    from stream.benchmark.run import BenchOrder, run_bench
    from stream.watch_options import score_config

    names = ("streams", "mode", "seconds", "json", "stall", "compare", "grow")
    given = {name: getattr(options, name) for name in names}
    clip = {} if options.clip is None else {"clip": options.clip}
    return run_bench(BenchOrder(score_config(options), **given, **clip))
