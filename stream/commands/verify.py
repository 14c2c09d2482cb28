"""``unmask verify``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "verify",
        help="whether a log and its evidence are as they were written",
        description="Check the chain, the signatures and every file of the evidence; reads only. Exit code 1: broken.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the evidence.folder of a configuration")
    parser.add_argument("--public-key", type=Path, metavar="FILE", help="a copy kept elsewhere of the log's public key")
    parser.add_argument("--expect-head", metavar="HASH", help="a head kept elsewhere, which the log must still hold")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    import json

    from stream.evidence.verify import report_lines, verify

    report = verify(options.folder, public_key=options.public_key, expect_head=options.expect_head)
    print(json.dumps(report.to_json(), indent=2) if options.json else "\n".join(report_lines(report)))
    return 0 if report.is_intact else 1
