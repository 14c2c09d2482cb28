"""``unmask alerts test``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands
from stream.errors import UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser("alerts", help="try the way that alerts take").add_subparsers(required=True)
    test = actions.add_parser("test", help="send a test alert to each sink of a file and say whether it arrived")
    test.add_argument("--config", type=Path, required=True, metavar="FILE", help="a file with an alerts section")
    test.set_defaults(run=_alerts_test)


def _alerts_test(options: argparse.Namespace) -> int:
    """The exit code is 1 when it did not reach every sink."""
    from stream.alerts.trial import try_sink
    from stream.config import load_config

    sinks = load_config(options.config).alerts.to
    if not sinks:
        raise UsageError(f"{options.config} names no sinks: list them under alerts.to (docs/alerts.md)")
    problems = 0
    for sink in sinks:
        problem = try_sink(sink)
        problems += problem is not None
        print(f"{sink.name} ({sink.kind}): {'arrived' if problem is None else problem}", flush=True)
    return 1 if problems else 0
