"""``unmask doctor``."""

from __future__ import annotations

import argparse

from stream.commands.arguments import Commands


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("doctor", help="what this machine has and lacks, and how to mend it")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from stream.doctor import run_doctor

    return run_doctor(as_json=options.json)
