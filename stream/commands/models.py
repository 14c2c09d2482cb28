"""``unmask models``."""

from __future__ import annotations

import argparse

from stream.commands.arguments import Commands
from stream.commands.terminal import complain


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "models", help="which models there are, which have weights here, and how good they are"
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=_models)


def _models(options: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from stream.models_table import model_rows, models_table

    rows = model_rows()
    if options.json:
        print(json.dumps([row.to_json() for row in rows], indent=2))
    else:
        Console().print(models_table(rows))
    for row in rows:
        if row.problem is not None:
            complain(row.problem)
    return 0
