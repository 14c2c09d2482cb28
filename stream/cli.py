"""The command line: arguments to a command, errors to one line and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from engines.errors import EngineError
from stream.commands import (
    alerts,
    bench,
    config,
    demo,
    doctor,
    evaluate,
    extract,
    import_model,
    models,
    purge,
    score,
    train,
    verify,
    watch,
    web,
)
from stream.commands.terminal import complain
from stream.errors import MissingPartError, UnmaskError

COMMANDS = (
    watch.add,
    score.add,
    models.add,
    import_model.add,
    extract.add,
    train.add,
    evaluate.add,
    demo.add,
    doctor.add,
    bench.add,
    config.add,
    web.add,
    alerts.add,
    purge.add,
    verify.add,
)
"""In the order of the help."""

EXIT_CODES = """exit codes:
  0  done               1  the answer is no (doctor: something is missing; demo: a verdict is wrong;
                           verify: something was changed;
                           alerts test: not every sink was reached)
  2  bad request        3  model or engine cannot be used      4  source cannot be read
  5  output cannot be written                                  6  something must be installed first
  130 interrupted (watch: by the second Ctrl-C; the first finishes every output and exits with 0)"""

NO_GSTREAMER = (
    "GStreamer's Python bindings are missing: run `make demo` once, or "
    "`apt-get install python3-gi python3-gst-1.0` and use a virtual environment that sees the system's packages"
)

NO_TRAINING = "this command needs the training extra: run `pip install -e '.[train]'` in this program's environment"
MISSING = {"gi": NO_GSTREAMER, "torch": NO_TRAINING, "h5py": NO_TRAINING, "safetensors": NO_TRAINING}
"""What to say where a part that is imported on use isn't there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Only this function turns errors into text."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_log_handler()])
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except UnmaskError as error:
        return _complain(error, error.exit_code)
    except EngineError as error:
        return _complain(error, 3)
    except ModuleNotFoundError as error:
        if error.name not in MISSING:
            raise
        return _complain(MISSING[error.name], MissingPartError.exit_code)
    except BrokenPipeError:
        return _unread()
    except KeyboardInterrupt:
        return 130


def _unread() -> int:
    """Whoever read the answer has seen enough; what is left of it must not fail once more at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


class _AboveTheTable(logging.Handler):
    """Writes to what standard error is now: a live table takes it over, to put lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _log_handler() -> logging.Handler:
    """Where standard error is a file, that is where the log belongs, table or not."""
    return _AboveTheTable() if sys.stderr.isatty() else logging.StreamHandler(sys.stderr)


def _complain(error: Exception | str, code: int) -> int:
    complain(error)
    return code


class _Version(argparse.Action):
    """Looked up when it is asked for: that takes longer than all else that the command line imports."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from stream.release import release

        print(f"unmask {release()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unmask",
        description="Watch live video and show how likely each face is fake.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser
