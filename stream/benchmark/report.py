"""Measurements as tables for people. Pure: values in, a table out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from stream.benchmark.observations import StreamNumbers
from stream.benchmark.trial import Metered, TrialResult


def streams_table(result: TrialResult, title: str) -> Table:
    """A row per stream."""
    table = _table(
        title,
        "stream",
        "fps",
        "delivered",
        "latency ms p50/p95/p99",
        "gap p99",
        "longest",
        "samples",
        "age p95 ms",
        "drops",
    )
    for stream in result.streams:
        table.add_row(*stream_row(stream))
    return table


def stream_row(stream: StreamNumbers) -> list[str]:
    latency = "/".join(
        number(value, 0) for value in (stream.latency_p50_ms, stream.latency_p95_ms, stream.latency_p99_ms)
    )
    gaps = [number(stream.gap_p99_frames, 2), number(stream.gap_max_frames, 2)]
    rates = [f"{stream.samples} of {number(stream.samples_wanted, 0)}", number(stream.score_age_p95_ms, 0)]
    return [
        stream.name,
        number(stream.fps, 2),
        number(stream.delivered_fps, 2),
        latency,
        *gaps,
        *rates,
        str(stream.video_drops),
    ]


def networks_line(metered: Metered) -> str:
    return f"{metered.parts.model.spec.name}: " + ", ".join(f"{what} {how}" for what, how in metered.networks.items())


def process_table(result: TrialResult, title: str) -> Table:
    """What the process took: by stage, per stream."""
    count = max(1, len(result.streams))
    table = _table(title, "CPU of", "cores", "% of a core per stream")
    for stage, share in result.stages.items():
        table.add_row(stage, f"{share:.3f}", f"{100 * share / count:.2f}")
    rows = {"inference": result.cpu_inference, "outside inference": result.cpu_outside * count, "all": result.cpu}
    for name, share in rows.items():
        table.add_row(f"[bold]{name}[/]", f"{share:.3f}", f"{100 * share / count:.2f}")
    return table


def process_lines(result: TrialResult) -> list[str]:
    others = max(0.0, result.machine_cpu - result.cpu - result.camera_cpu - result.viewer_cpu)
    viewers = f", viewers' process {result.viewer_cpu:.2f}" if result.viewer_fps else ""
    lines = [
        f"memory {result.rss_mib:.0f} MiB; {result.embeds_per_s:.1f} faces embedded a second, "
        f"{result.batch:.1f} in a batch",
        f"cameras' process {result.camera_cpu:.2f} cores{viewers}, whole machine {result.machine_cpu:.2f} cores busy "
        f"(other programs {others:.2f})",
    ]
    if result.viewer_fps:
        lines.append(f"pictures a second at the viewers: {', '.join(number(fps, 2) for fps in result.viewer_fps)}")
    return lines


def stall_table(before: Sequence[StreamNumbers], during: Sequence[StreamNumbers], frozen: str) -> Table:
    """The streams that were not frozen, before and during."""
    table = _table(
        f"{frozen} frozen (SIGSTOP): the others before → during",
        "stream",
        "fps",
        "latency p95 ms",
        "gap p99",
        "longest",
    )
    for old, new in zip(before, during, strict=True):
        if old.name != frozen:
            pairs = (
                (old.fps, new.fps, 2),
                (old.latency_p95_ms, new.latency_p95_ms, 0),
                (old.gap_p99_frames, new.gap_p99_frames, 2),
                (old.gap_max_frames, new.gap_max_frames, 2),
            )
            table.add_row(old.name, *(f"{number(one, places)} → {number(two, places)}" for one, two, places in pairs))
    return table


def number(value: float, places: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{places}f}"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    return table
