"""``unmask demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands, port
from stream.commands.signals import stopping_on_signals


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("demo", help="watch a made-up RTSP camera whose second half is a face swap")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where results go (default: %(default)s)")
    parser.add_argument("--page", action="store_true", help="show the camera on the live page, until Ctrl-C")
    parser.add_argument("--port", type=port, default=8080, help="of the page (default: %(default)s; 0: a free one)")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    if options.page:
        from stream.demo.page import run_page

        with stopping_on_signals() as stop:
            return run_page(options.folder, stop=stop, port=options.port).exit_code
    from stream.demo.run import run_demo

    return run_demo(options.folder)
