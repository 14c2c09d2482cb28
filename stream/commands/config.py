"""``unmask config check``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands
from stream.commands.terminal import complain


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser("config", help="check a configuration file").add_subparsers(required=True)
    check = actions.add_parser("check", help="read a file and say what is wrong with it")
    check.add_argument("file", type=Path)
    check.set_defaults(run=_config_check)


def _config_check(options: argparse.Namespace) -> int:
    """Unlike the other commands, says all that is wrong, a line each."""
    from stream.config import check
    from stream.config_check import check_named_files
    from stream.config_file import ConfigError

    try:
        lines = check(options.file)
        check_named_files(options.file)
    except ConfigError as error:
        for problem in error.problems:
            complain(problem)
        return error.exit_code
    print("\n".join(lines))
    return 0
