"""How engine building looks: a line per engine while it is built, and a table of what is there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from engines.store import EngineKey, Manifest

HEADINGS = ("model", "graph", "runtime", "precision", "MB", "batch", "p50 ms", "p95 ms", "max |Δ|", "flips", "AUC")
WIDTH = 120
"""Columns that the table needs: on a narrower terminal its lines are wrapped by the terminal, not cut."""


def report_line(key: EngineKey) -> str:
    """An engine in a few words."""
    return f"{key.model} {Path(key.graph).stem}, {key.runtime} {key.precision}"


def print_engines(manifests: Sequence[Manifest], sizes: Sequence[int]) -> None:
    """To stdout; ``sizes`` in bytes."""
    console = Console()
    Console(width=max(console.width, WIDTH)).print(engine_table(manifests, sizes))


def engine_table(manifests: Sequence[Manifest], sizes: Sequence[int]) -> Table:
    """A row for each engine and batch."""
    table = Table(box=SIMPLE, title=None if manifests else "no engine built yet: run build_engines.py")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in HEADINGS[4:] else "left")
    for manifest, size in zip(manifests, sizes, strict=True):
        for row in _rows(manifest, size):
            table.add_row(*row)
    return table


def _rows(manifest: Manifest, size: int) -> list[tuple[str, ...]]:
    key, parity = manifest.key, manifest.parity
    names = (key.model, Path(key.graph).stem, key.runtime, key.precision, f"{size / 1e6:.1f}")
    proof = (f"{parity.max_logit_delta:.1e}", str(parity.verdict_flips), _aucs(manifest))
    return [
        (
            *(names if number == 0 else ("",) * len(names)),
            str(timing.batch),
            f"{timing.p50_ms:.2f}",
            f"{timing.p95_ms:.2f}",
            *(proof if number == 0 else ("",) * len(proof)),
        )
        for number, timing in enumerate(manifest.timings)
    ]


def _aucs(manifest: Manifest) -> str:
    before, after = manifest.parity.auc_before, manifest.parity.auc_after
    return "" if before is None or after is None else f"{before:.4f} → {after:.4f}"


class StageBoard:
    """One line for each engine: the stages it went through, with their seconds."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._line = ""
        self.has_built = False
        """Whether any engine was begun."""
        self._began: dict[str, float] = {}
        self._done: list[str] = []

    def __enter__(self) -> StageBoard:
        self._status = self._console.status("")
        if not self._quiet:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tell()
        self._status.stop()

    def begin(self, line: str) -> None:
        """The next engine, or what is done with several, in a few words."""
        self.has_built = True
        self._tell()
        self._line, self._done = line, []
        self._began.clear()  # a stage that failed has not ended

    def stage(self, name: str, share: float) -> None:
        """As ``engines.compile.build.OnStage``."""
        now = time.monotonic()
        began = self._began.setdefault(name, now)
        if share >= 1:
            self._done.append(f"{name} {now - began:.1f} s")
            self._began.pop(name)
        self._status.update(f"{self._line}: {name}" + (f" {share:.0%}" if 0 < share < 1 else ""))

    def say(self, line: str) -> None:
        """Besides the stages."""
        self._console.print(line)

    def _tell(self) -> None:
        if self._line and self._done and not self._quiet:
            self._console.print(f"{self._line}: {', '.join(self._done)}")
        self._line = ""
