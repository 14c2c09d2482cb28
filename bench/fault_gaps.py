"""Does anybody else notice when a camera fails? The longest gap between two pictures of the streams beside it.

    python -m bench.fault_gaps [--seconds 4] [--only NAME …] [--json FILE] [--clip FILE]

Two 720p25 cameras, served by another process, are watched as ``unmask watch`` does with the shipped model and detector.
Beside them comes one faulty camera at a time, through the interface that the live page uses: added, broken, mended,
removed, all in one run. Each row is measured for some seconds without that camera, and then from before it is added
until half a second after it is removed. A row keeps the rule when no gap is beyond 100 ms; the exit code is 1 when one
misses it or cannot be measured, as when its fault did not show. Scenes are told beside: they carry the scores, come as
often as there is something to sample, and are held to nothing.
Three things tell a loud machine: the first row, which breaks nothing; how late a process woke that only slept; the
cores that other programs took.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from bench.bystander import Bystander
from bench.faults import FAULTS, NOTHING, Fault, Stage, Trouble
from stream.benchmark.cpu import machine_s
from stream.benchmark.observations import Recorder, percentile, rounded
from stream.benchmark.run import CLIPS
from stream.benchmark.trial import WARM_UP_S, TrialOrder, cameras, metered_parts, watching
from stream.config import AppConfig, RetryConfig
from stream.demo.clip import ensure_clip
from stream.errors import UnmaskError
from stream.gst.clip_making import ClipShape, ensure_shaped
from stream.types import StreamName

LONGEST_MS = 100.0
"""The rule, for every stream but the one that fails."""
HEALTHY = 2
RETRY = RetryConfig(first_s=0.2, longest_s=1.0, stalled_after_s=1.5)
"""Harsher than the defaults: what fails is tried about once a second."""
AFTER_S = 0.5
"""Still judged after the faulty stream was removed."""
WIDE = 150
DEMO_CLIP = Path("demo/clip.mp4")


@dataclass(frozen=True)
class Gaps:
    """Between two pictures of one stream that came after each other, over all healthy streams."""

    longest_ms: float
    p99_ms: float
    frames: int


@dataclass(frozen=True)
class Span:
    """What was measured between two moments."""

    gaps: Gaps
    scenes_ms: float
    """The longest that a healthy stream was without a new scene."""
    seconds: float
    machine_ms: float
    """How long a process that only sleeps was kept waiting, at most."""
    others: float
    """Cores taken by programs that are no part of the measurement."""


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    before: Span
    during: Span
    """With the faulty stream: from before it is added until after it is removed."""
    losses: dict[str, int] = field(default_factory=dict)
    """How often the faulty stream was lost or cut, by the reason."""

    @property
    def keeps(self) -> bool:
        return self.during.gaps.longest_ms <= LONGEST_MS


def gaps_of(arrived_ns: Sequence[Sequence[int]], span_ns: tuple[int, int]) -> Gaps:
    """Of the times at which each stream's pictures arrived. The silence at either end of the span counts. Pure."""
    every = [_gaps_ms(times, span_ns) for times in arrived_ns]
    gaps = [gap for one in every for gap in one]
    frames = sum(len(one) - 1 for one in every)
    return Gaps(max(gaps, default=float("nan")), percentile(gaps, 99), frames)


def _gaps_ms(times_ns: Sequence[int], span_ns: tuple[int, int]) -> list[float]:
    """From the last picture before the span, or its beginning, to its end."""
    begin_ns, end_ns = span_ns
    times = [time_ns for time_ns in list(times_ns) if time_ns < end_ns]
    first_ns = max((time_ns for time_ns in times if time_ns < begin_ns), default=begin_ns)
    moments = [first_ns, *(time_ns for time_ns in times if time_ns >= begin_ns), end_ns]
    return [float(gap) for gap in np.diff(np.asarray(moments, np.int64)) / 1e6]


COLUMNS = (
    "fault",
    "longest gap, ms",
    "p99, ms",
    "scenes, ms",
    "machine, ms",
    "others' cores",
    "pictures",
    "seconds",
    "losses",
)


def table_of(rows: Sequence[Row], left_out: Sequence[tuple[str, str]] = ()) -> Table:
    """A row for each fault, to paste into the docs; an arrow leads from before it to during it."""
    table = Table(*COLUMNS, f"≤ {LONGEST_MS:g} ms", box=MARKDOWN)
    for row in rows:
        table.add_row(*cells_of(row))
    for name, why in left_out:
        table.add_row(name, *["-"] * (len(COLUMNS) - 2), why, "not measured")
    return table


def cells_of(row: Row) -> list[str]:
    """Of the table. Pure."""
    before, during = row.before, row.during
    return [
        row.name,
        f"{before.gaps.longest_ms:.0f} → {during.gaps.longest_ms:.0f}",
        f"{before.gaps.p99_ms:.0f} → {during.gaps.p99_ms:.0f}",
        f"{before.scenes_ms:.0f} → {during.scenes_ms:.0f}",
        f"{before.machine_ms:.0f} → {during.machine_ms:.0f}",
        f"{before.others:.1f} → {during.others:.1f}",
        f"{during.gaps.frames}",
        f"{during.seconds:.1f}",
        ", ".join(f"{reason} {count}" for reason, count in sorted(row.losses.items())) or "-",
        "kept" if row.keeps else "MISSED",
    ]


def verdict_of(rows: Sequence[Row]) -> str:
    """One line. Pure."""
    missed = [row.name for row in rows if not row.keeps]
    if NOTHING in missed:
        return "the machine itself does not keep it: judge the rows on a quieter one"
    return f"missed by: {', '.join(missed)}" if missed else "every row keeps it"


def exit_code(rows: Sequence[Row], left_out: Sequence[tuple[str, str]]) -> int:
    """0: everything was measured and keeps the rule. Pure."""
    return 0 if not left_out and all(row.keeps for row in rows) else 1


class Gauge:
    """Measures the healthy streams of a run."""

    def __init__(self, recorder: Recorder, names: Sequence[str], bystander: Bystander) -> None:
        self._recorder, self._names, self._bystander = recorder, tuple(map(StreamName, names)), bystander

    def over(self, seconds: float, during: Callable[[], None] = lambda: None) -> Span:
        """While ``during`` runs, and for at least so many seconds."""
        self._bystander.longest_ms()
        begin_ns, machine, ours = time.monotonic_ns(), machine_s(), family_s()
        during()
        time.sleep(max(0.0, seconds - (time.monotonic_ns() - begin_ns) / 1e9))
        end_ns, spent_s = time.monotonic_ns(), (machine_s() - machine) - (family_s() - ours)
        took_s = (end_ns - begin_ns) / 1e9
        gaps = gaps_of([self._recorder.arrived_ns[name] for name in self._names], (begin_ns, end_ns))
        scenes = gaps_of([self._scenes_ns(name) for name in self._names], (begin_ns, end_ns))
        return Span(gaps, scenes.longest_ms, took_s, self._bystander.longest_ms(), max(0.0, spent_s / took_s))

    def _scenes_ns(self, name: StreamName) -> list[int]:
        return [published_ns for published_ns, *_ in list(self._recorder.faces[name])]


def family_s() -> float:
    """CPU seconds of this process and of all that it started; those that ended and were waited for count on."""
    own = psutil.Process()
    used = sum(own.cpu_times()[:4])
    for child in own.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used += sum(child.cpu_times()[:4])
    return float(used)


def measured(name: str, fault: Fault, stage: Stage, gauge: Gauge) -> Row:
    """One row; the faulty stream and its camera are gone afterwards. Raises UnmaskError."""
    with stage.closing:
        steps = fault(stage)
        next(steps)
        before = gauge.over(stage.seconds)
        stage.begin()
        during = gauge.over(stage.seconds, lambda: _run_out(steps, stage))
        return Row(name, before, during, stage.losses)


def _run_out(steps: Iterator[None], stage: Stage) -> None:
    """The fault, the removal of its stream, and what comes of that."""
    next(steps, None)
    stage.closing.close()
    time.sleep(AFTER_S)


@contextmanager
def staged(clip: Path, seconds: float, folder: Path) -> Iterator[tuple[Stage, Gauge]]:
    """The watch of two healthy cameras, once it plays and is warm."""
    if clip == DEMO_CLIP and not clip.is_file():
        ensure_clip(clip)
    served_clip = ensure_shaped(clip, CLIPS, ClipShape())
    trouble, config = Trouble(), AppConfig(retry=RETRY, scores=folder / "scores.jsonl")
    order = TrialOrder(HEALTHY, "score", seconds)
    with (
        metered_parts(config, wrap=trouble.wrap) as metered,
        cameras(served_clip, HEALTHY) as served,
        watching(served.urls, order, metered, config) as run,
        Bystander() as bystander,
    ):
        run.wait_until_playing()
        time.sleep(WARM_UP_S)
        yield Stage(run, trouble, folder, seconds), Gauge(run.recorder, run.names, bystander)


def measure_all(
    names: Sequence[str], clip: Path, seconds: float, console: Console
) -> tuple[list[Row], list[tuple[str, str]]]:
    """The rows, and what could not be measured and why. Raises UnmaskError when the watch itself cannot begin."""
    rows, left_out = list[Row](), list[tuple[str, str]]()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        stage, gauge = closing.enter_context(staged(clip, seconds, folder))
        for name in names:
            try:
                rows.append(measured(name, FAULTS[name], stage, gauge))
            except UnmaskError as error:
                left_out.append((name, str(error)))
            console.print(f"{len(rows) + len(left_out)} of {len(names)}: {name}", highlight=False)
    return rows, left_out


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console()
    console = console if console.is_terminal else Console(width=WIDE)
    names = [name for name in FAULTS if name == NOTHING or not options.only or name in options.only]
    rows, left_out = measure_all(names, options.clip, options.seconds, console)
    console.print(table_of(rows, left_out))
    console.print(f"no gap beyond {LONGEST_MS:g} ms: {verdict_of(rows)}", highlight=False)
    if options.json is not None:
        told = {"rows": [rounded(row) | {"keeps": row.keeps} for row in rows], "left_out": dict(left_out)}
        options.json.write_text(json.dumps({"longest_ms": LONGEST_MS, **told}, indent=1) + "\n")
    return exit_code(rows, left_out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fault_gaps", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="before each fault, and at least during it")
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), metavar="NAME", help=", ".join(FAULTS))
    parser.add_argument("--clip", type=Path, default=DEMO_CLIP, help="what the healthy cameras send, as 720p25")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
