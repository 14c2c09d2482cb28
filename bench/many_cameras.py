"""Every number about many cameras in docs/performance.md, one measurement after the other, as rows to paste.

    python -m bench.many_cameras [--minutes 15] [--only NAME …] [--folder build/bench/tables]

Each row names the ``unmask bench`` command that measures it alone. They run in order of importance; one that would not
fit into what is left of the minutes is left out and said so. JSON of each lies in the folder.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

Report = dict[str, Any]
OTHERS = "cores taken by other programs"


@dataclass(frozen=True)
class Measurement:
    """One command and how its report is told."""

    name: str
    options: str
    """Of ``unmask bench``."""
    takes_s: float
    """About, on a machine that carries what is asked for."""
    tell: Callable[[Report], list[str]]


def carried_lines(report: Report) -> list[str]:
    """The largest number of cameras and what they cost. Pure."""
    trial = report.get("trial")
    if trial is None:
        return ["| carried | **0** |"]
    streams, seen = trial["streams"], trial["stages"]
    per_stream = {stage: 100 * cores / len(streams) for stage, cores in seen.items()}
    others = max(0.0, trial["machine_cpu"] - trial["cpu"] - trial["camera_cpu"] - trial["viewer_cpu"])
    return [
        f"| backbone, detector | {report['networks']['backbone']}, {report['networks']['detector']} |",
        f"| carried | **{report.get('largest', len(streams))}** |",
        f"| p95 latency | {_span(streams, 'latency_p95_ms', 0)} ms |",
        f"| p99 gap, frames | {_span(streams, 'gap_p99_frames', 2)} |",
        f"| samples taken of those wanted | {_span(streams, 'samples', 0)} of {_span(streams, 'samples_wanted', 0)} |",
        f"| CPU outside inference, a stream | {100 * trial['cpu_outside_per_stream']:.1f} % of a core |",
        f"| CPU in all, a stream | {100 * trial['cpu'] / len(streams):.1f} % of a core |",
        *(f"| … {stage} | {share:.2f} % |" for stage, share in sorted(per_stream.items(), key=lambda part: -part[1])),
        f"| cameras' and viewers' processes | {trial['camera_cpu']:.2f}, {trial['viewer_cpu']:.2f} cores |",
        f"| memory | {trial['rss_mib']:.0f} MiB |",
        f"| {OTHERS} | {others:.1f} |",
    ]


def stalled_lines(report: Report) -> list[str]:
    """The streams that were not frozen, before and during. Pure."""
    kept = [
        entry for entry in zip(report["before"], report["during"], strict=True) if entry[0]["name"] != report["frozen"]
    ]
    before, during = [old for old, _ in kept], [new for _, new in kept]
    names = (("p99 gap, frames", "gap_p99_frames", 2), ("p95 latency, ms", "latency_p95_ms", 0), ("fps", "fps", 2))
    return [f"| {told} | {_span(before, key, places)} → {_span(during, key, places)} |" for told, key, places in names]


def compared_lines(report: Report) -> list[str]:
    """A row for each way. Pure."""
    compared = report["compare"]
    same = compared["same"]
    told = ", ".join(f"{key} {value:+.3f}" for key, value in same.items() if value is not None)
    rows = [
        f"| {row['way']} | {row['scores_per_wall_s']:.1f} | {row['scores_per_cpu_s']:.1f} "
        f"| {row['ours_is_times_wall']:.1f} × | {row['ours_is_times_cpu']:.1f} × |"
        for row in compared["standings"]
    ]
    return [f"ours on {report['networks']['backbone']}; logits: {told}", *rows]


def grown_lines(report: Report) -> list[str]:
    """A row for each point of each curve, and what the curve says. Pure."""
    lines = []
    for curve in report["grow"]:
        stages = list(curve["points"][0]["stages_ms"])
        lines.append(f"| | {' | '.join(stages)} | all | pictures kept | sampled | faces embedded a second |")
        lines += [_point_line(point, stages) for point in curve["points"]] + [curve["sentence"]]
    return lines


def _point_line(point: Report, stages: Sequence[str]) -> str:
    costs = [f"{point['stages_ms'].get(stage, 0.0):.2f}" for stage in stages]
    sampled = "-" if point["sampled_share"] is None else f"{point['sampled_share']:.0%}"
    ends = [f"{sum(point['stages_ms'].values()):.2f}", f"{point['fps_share']:.0%}", sampled]
    return f"| {' | '.join([point['label'], *costs, *ends, format(point['faces_per_s'], '.0f')])} |"


def _span(rows: Sequence[Report], key: str, places: int) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    low, high = (f"{value:.{places}f}" for value in (min(values), max(values))) if values else ("-", "-")
    return low if low == high else f"{low}-{high}"


MEASUREMENTS = (
    Measurement("eight scored", "--streams 8 --seconds 12 --backend onnxruntime-cpu", 25, carried_lines),
    Measurement(
        "four restreamed", "--streams 4 --mode restream --seconds 12 --backend onnxruntime-cpu", 25, carried_lines
    ),
    Measurement("scored", "--streams auto --seconds 12 --backend onnxruntime-cpu", 115, carried_lines),
    Measurement(
        "restreamed", "--streams auto --mode restream --seconds 12 --backend onnxruntime-cpu", 105, carried_lines
    ),
    Measurement("compared", "--compare --seconds 3 --backend onnxruntime-cpu", 90, compared_lines),
    Measurement("scored, best engines", "--streams auto --seconds 12", 115, carried_lines),
    Measurement("compared, best engines", "--compare --seconds 3", 90, compared_lines),
    Measurement("stalled", "--streams 4 --stall --seconds 8", 32, stalled_lines),
    Measurement("grown", "--grow --seconds 4", 195, grown_lines),
)


def fits(wanted: Measurement, left_s: float) -> bool:
    return wanted.takes_s <= left_s


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console, ends_s, lines = Console(width=140), time.monotonic() + 60 * options.minutes, list[str]()
    options.folder.mkdir(parents=True, exist_ok=True)
    for measurement in MEASUREMENTS:
        if options.only and measurement.name not in options.only:
            continue
        lines += ["", f"**{measurement.name}**: `unmask bench {measurement.options}`", ""]
        if fits(measurement, ends_s - time.monotonic()):
            lines += _measured(measurement, options.folder)
        else:
            lines.append(f"left out: it takes {measurement.takes_s:.0f} s, more than is left")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    return 0


def _measured(measurement: Measurement, folder: Path) -> list[str]:
    """In a process of its own, as anybody would run it: nothing is warm from the one before."""
    report = folder / f"{measurement.name.replace(', ', '-').replace(' ', '-')}.json"
    report.unlink(missing_ok=True)
    program = "import sys; from stream.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "bench", *shlex.split(measurement.options), "--json", str(report)]
    code = subprocess.run(command, check=False).returncode
    return measurement.tell(json.loads(report.read_text())) if report.is_file() else [f"failed: exit code {code}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.many_cameras", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15, help="begin nothing that would not fit")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in MEASUREMENTS], metavar="NAME")
    parser.add_argument("--folder", type=Path, default=Path("build/bench/tables"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
