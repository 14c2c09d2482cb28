"""Does anybody else notice when a camera fails? The longest gap between two pictures of the streams beside it.

    python -m bench.fault_gaps [--seconds 4] [--only NAME …] [--json FILE]

Two 720p25 cameras, served by another process, are watched as ``unmask watch`` does with the shipped model and detector.
Beside them comes one faulty camera at a time, through the interface that the live page uses: added, broken, mended,
removed, all in one run. Each row is measured for some seconds before its fault and then until the mended camera plays
again. The first row breaks nothing and tells what the machine itself does; a row keeps the rule when no gap is beyond
100 ms. The exit code is 1 when one misses it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from bench.faults import FAULTS, FAULTY, NOTHING, Fault, LeftOutError, Stage, Trouble
from stream.benchmark.cpu import machine_s
from stream.benchmark.observations import Recorder, percentile, rounded
from stream.benchmark.run import CLIPS
from stream.benchmark.trial import WARM_UP_S, TrialOrder, cameras, metered_parts, watching
from stream.config import AppConfig, RetryConfig
from stream.demo.clip import ensure_clip
from stream.gst.clip_making import ClipShape, ensure_shaped
from stream.types import StreamName

LONGEST_MS = 100.0
"""The rule, for every stream but the one that fails."""
HEALTHY = 2
RETRY = RetryConfig(first_s=0.2, longest_s=1.0, stalled_after_s=1.5)
"""Harsher than the defaults: what fails is tried about once a second."""
WIDE = 140


@dataclass(frozen=True)
class Gaps:
    """Between two pictures of one stream that came after each other, over all healthy streams."""

    longest_ms: float
    p99_ms: float
    frames: int


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    before: Gaps
    during: Gaps
    seconds: float
    """From the fault until the end of its measurement."""
    others_before: float
    """Cores taken by programs that are no part of the measurement."""
    others_during: float
    losses: dict[str, int] = field(default_factory=dict)
    """How often the faulty stream was lost or cut, by the reason."""

    @property
    def keeps(self) -> bool:
        return self.during.longest_ms <= LONGEST_MS


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


def table_of(rows: Sequence[Row], left_out: Sequence[tuple[str, str]] = ()) -> Table:
    """A row for each fault."""
    table = Table(
        "fault",
        "longest ms, before",
        "during",
        "p99 ms, before",
        "during",
        "pictures",
        "seconds",
        "others' cores, before",
        "during",
        "losses",
        f"≤ {LONGEST_MS:g} ms",
    )
    for row in rows:
        table.add_row(*cells_of(row))
    for name, why in left_out:
        table.add_row(name, *["-"] * 8, why, "left out")
    return table


def cells_of(row: Row) -> list[str]:
    """Of the table. Pure."""
    return [
        row.name,
        f"{row.before.longest_ms:.0f}",
        f"{row.during.longest_ms:.0f}",
        f"{row.before.p99_ms:.0f}",
        f"{row.during.p99_ms:.0f}",
        f"{row.during.frames}",
        f"{row.seconds:.1f}",
        f"{row.others_before:.1f}",
        f"{row.others_during:.1f}",
        ", ".join(f"{reason} {count}" for reason, count in sorted(row.losses.items())) or "-",
        "kept" if row.keeps else "MISSED",
    ]


def verdict_of(rows: Sequence[Row]) -> str:
    """One line. Pure."""
    missed = [row.name for row in rows if not row.keeps]
    if NOTHING in missed:
        return "the machine itself does not keep it: judge the rows on a quieter one"
    return f"missed by: {', '.join(missed)}" if missed else "every row keeps it"


@dataclass(frozen=True)
class Span:
    """What was measured between two moments."""

    gaps: Gaps
    seconds: float
    others: float


class Gauge:
    """Measures the healthy streams of a run."""

    def __init__(self, recorder: Recorder, names: Sequence[str]) -> None:
        self._recorder, self._names = recorder, tuple(map(StreamName, names))

    def over(self, seconds: float, during: Callable[[], None] = lambda: None) -> Span:
        """While ``during`` runs, and for at least so many seconds."""
        begin_ns, machine, ours = time.monotonic_ns(), machine_s(), family_s()
        during()
        time.sleep(max(0.0, seconds - (time.monotonic_ns() - begin_ns) / 1e9))
        end_ns, spent_s = time.monotonic_ns(), (machine_s() - machine) - (family_s() - ours)
        took_s = (end_ns - begin_ns) / 1e9
        gaps = gaps_of([self._recorder.arrived_ns[name] for name in self._names], (begin_ns, end_ns))
        return Span(gaps, took_s, max(0.0, spent_s / took_s))


def family_s() -> float:
    """CPU seconds of this process and of all that it started; those that ended and were waited for count on."""
    own = psutil.Process()
    used = sum(own.cpu_times()[:4])
    for child in own.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used += sum(child.cpu_times()[:4])
    return float(used)


def measured(name: str, fault: Fault, stage: Stage, gauge: Gauge) -> Row:
    """One row; the faulty stream and its camera are gone afterwards. Raises LeftOutError."""
    with stage.closing:
        steps = fault(stage)
        next(steps)
        before, known = gauge.over(stage.seconds), Counter(stage.run.recorder.losses)
        during = gauge.over(stage.seconds, lambda: next(steps, None))
        losses = stage.run.recorder.losses - known
    told = {reason: count for (stream, reason), count in losses.items() if stream == FAULTY}
    return Row(name, before.gaps, during.gaps, during.seconds, before.others, during.others, told)


@contextmanager
def staged(seconds: float, folder: Path) -> Iterator[tuple[Stage, Gauge]]:
    """The watch of two healthy cameras, once it plays and is warm."""
    ensure_clip(Path("demo/clip.mp4"))
    clip = ensure_shaped(Path("demo/clip.mp4"), CLIPS, ClipShape())
    trouble, config = Trouble(), AppConfig(retry=RETRY, scores=folder / "scores.jsonl")
    order = TrialOrder(HEALTHY, "score", seconds)
    with (
        metered_parts(config, wrap=trouble.wrap) as metered,
        cameras(clip, HEALTHY) as served,
        watching(served.urls, order, metered, config) as run,
    ):
        run.wait_until_playing()
        time.sleep(WARM_UP_S)
        yield Stage(run, trouble, folder, seconds), Gauge(run.recorder, run.names)


def measure_all(names: Sequence[str], seconds: float, console: Console) -> tuple[list[Row], list[tuple[str, str]]]:
    """The rows, and what was left out and why. Raises UnmaskError when the watch itself fails."""
    rows, left_out = list[Row](), list[tuple[str, str]]()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        stage, gauge = closing.enter_context(staged(seconds, folder))
        for name in names:
            try:
                rows.append(measured(name, FAULTS[name], stage, gauge))
            except LeftOutError as error:
                left_out.append((name, str(error)))
            console.print(f"{len(rows) + len(left_out)} of {len(names)}: {name}", highlight=False)
    return rows, left_out


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console()
    console = console if console.is_terminal else Console(width=WIDE)
    names = [name for name in FAULTS if name == NOTHING or not options.only or name in options.only]
    rows, left_out = measure_all(names, options.seconds, console)
    console.print(table_of(rows, left_out))
    console.print(f"no gap beyond {LONGEST_MS:g} ms: {verdict_of(rows)}", highlight=False)
    if options.json is not None:
        told = {"rows": [rounded(row) | {"keeps": row.keeps} for row in rows], "left_out": dict(left_out)}
        options.json.write_text(json.dumps({"longest_ms": LONGEST_MS, **told}, indent=1) + "\n")
    return 0 if all(row.keeps for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fault_gaps", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="before each fault, and at least during it")
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), metavar="NAME", help=", ".join(FAULTS))
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
