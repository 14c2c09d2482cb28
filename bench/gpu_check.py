"""Everything that needs a GPU, for real, as one table: ok, failed (why) or skipped (why).

    make gpu-check          # or .venv/bin/python -m bench.gpu_check

Runs on any machine; without a GPU nearly all rows are skipped. ``REQUIRE_GPU=1`` turns a skip into a failure, so that a
machine which lost its GPU cannot pass. Exit code 1 when a row failed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.gpu_rows import ROWS, Lab, MissingPartError, open_device, open_gpu_model
from engines.errors import RuntimeMissingError

Outcome = Literal["ok", "failed", "skipped"]
COLOURS: dict[Outcome, str] = {"ok": "green", "failed": "red", "skipped": "yellow"}


@dataclass(frozen=True)
class Result:
    """How one row went."""

    name: str
    outcome: Outcome
    told: str
    seconds: float


def run_row(name: str, row: Callable[[Lab], str], lab: Lab, *, require_gpu: bool) -> Result:
    began = time.monotonic()
    outcome, told = _outcome(row, lab)
    if require_gpu and outcome == "skipped":
        outcome = "failed"
    return Result(name, outcome, " ".join(told.split()), time.monotonic() - began)


def _outcome(row: Callable[[Lab], str], lab: Lab) -> tuple[Outcome, str]:
    try:
        return "ok", row(lab)
    except (MissingPartError, RuntimeMissingError) as error:
        return "skipped", str(error)
    except ModuleNotFoundError as error:
        return "skipped", f"{error}: install it, or restore the file"
    except Exception as error:  # a row that fails is told in the table, and the next one runs
        return "failed", f"{type(error).__name__}: {error}"


def table_of(results: Sequence[Result]) -> Table:
    table = Table("check", "outcome", "seconds", "what was found", title="GPU check")
    for result in results:
        outcome = f"[{COLOURS[result.outcome]}]{result.outcome}[/]"
        table.add_row(result.name, outcome, f"{result.seconds:.1f}", escape(result.told))
    return table


def main(
    rows: Mapping[str, Callable[[Lab], str]] = ROWS, lab: Lab | None = None, console: Console | None = None
) -> int:
    """Run all rows and print the table; 1 when one failed."""
    require_gpu, lab = os.environ.get("REQUIRE_GPU") == "1", lab or Lab(open_device, open_gpu_model)
    console = console or Console()
    results = []
    for name, row in rows.items():
        with console.status(name):
            results.append(run_row(name, row, lab, require_gpu=require_gpu))
    console.print(table_of(results))
    return int(any(result.outcome == "failed" for result in results))


if __name__ == "__main__":
    sys.exit(main())
