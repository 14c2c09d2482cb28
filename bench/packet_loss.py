"""What lost packets do to verdicts: with broken pictures left out, as ``unmask watch`` does, and with them.

    python -m bench.packet_loss [--loss 0.003 0.01 0.03] [--repeats 3] [--clip demo/clip.mp4]

The genuine half of the demo's clip is served as a camera whose packets are lost by chance and watched live: any window
that is shown as fake is a false alarm that the network has made.
Chance loses other packets in every run, so each row is the sum of several.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from bench.faulty_camera import FaultyCamera
from stream.app import watch
from stream.config import AppConfig, MetricsConfig, StreamConfig
from stream.demo.clip import ensure_clip
from stream.errors import SourceError, UnmaskError
from stream.observers import SilentObserver
from stream.types import Scene, StreamName, Verdict

SERVED = (
    "( filesrc location={clip} ! qtdemux ! h264parse ! rtph264pay pt=96 config-interval=-1 "
    "! netsim name=pay0 drop-probability={loss} )"
)
SHOWN = (Verdict.REAL, Verdict.UNSURE, Verdict.FAKE)
MARGIN_S = 2.5
"""Left out before the clip turns into the fake: how long a camera may take to play, and the last window's slots."""


@dataclass
class Seen(SilentObserver):
    """Windows by the verdict that was shown then; an Observer and a Sink."""

    until_s: float
    windows: Counter[Verdict] = field(default_factory=Counter)
    frames: int = 0
    damaged: int = 0

    def frame_arrived(self, stream: StreamName, arrived_ns: int) -> None:  # noqa: ARG002
        self.frames += 1

    def frame_damaged(self, stream: StreamName) -> None:  # noqa: ARG002
        self.damaged += 1

    def publish(self, scene: Scene) -> None:
        for face in scene.faces:
            if face.scored_pts_ns == scene.pts_ns and scene.pts_ns < self.until_s * 1e9:
                self.windows[face.verdict] += 1

    def close(self) -> None:
        """Nothing is open."""

    def add(self, other: Seen) -> None:
        self.windows += other.windows
        self.frames += other.frames
        self.damaged += other.damaged


def seen_of(clip: Path, loss: float, half_s: float, *, takes_broken: bool) -> Seen:
    """Watch the genuine half once. ``takes_broken``: as if no picture were marked. Raises SourceError."""
    seen, until_s = Seen(half_s - MARGIN_S), half_s - MARGIN_S
    with FaultyCamera(SERVED.format(clip=clip.resolve(), loss=loss)) as camera:
        config = AppConfig(
            streams=(StreamConfig(source=camera.url, name="camera"),),
            display=False,
            metrics=MetricsConfig(enabled=False),
            duration_s=until_s,
        )
        with patch("stream.sources.decoded.is_damaged", lambda _: False) if takes_broken else nullcontext():
            watch(config, sinks=[seen], observers=[seen])
    return played(seen, loss)


def played(seen: Seen, loss: float) -> Seen:
    """The same; raises SourceError for a camera of which nothing came, which would pass for a perfect one."""
    if not seen.frames:
        raise SourceError(f"the camera that loses {100 * loss:g} % never played: measure again, or lose less")
    return seen


def sum_of(runs: Sequence[Seen]) -> Seen:
    """Of several runs. Pure."""
    total = Seen(runs[0].until_s)
    for run in runs:
        total.add(run)
    return total


def row_of(loss: float, *, takes_broken: bool, seen: Seen) -> tuple[str, ...]:
    """Cells of the table. Pure."""
    counts = [str(seen.windows[verdict]) for verdict in SHOWN]
    windows = sum(seen.windows[verdict] for verdict in SHOWN)
    told = (str(windows), *counts) if windows else ("no window", "-", "-", "-")
    broken = "not told" if takes_broken else f"{seen.damaged} of {seen.frames}"
    return (f"{100 * loss:g} %", "sampled" if takes_broken else "left out", broken, *told)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    half_s = ensure_clip(options.clip).parts[0].end_s
    table = Table("packets lost", "broken pictures are", "broken pictures", "windows", *(v.value for v in SHOWN))
    try:
        for loss in options.loss:
            for takes_broken in (True, False):
                runs = [seen_of(options.clip, loss, half_s, takes_broken=takes_broken) for _ in range(options.repeats)]
                table.add_row(*row_of(loss, takes_broken=takes_broken, seen=sum_of(runs)))
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    Console().print(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.packet_loss", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loss", type=float, nargs="+", default=[0.003, 0.01, 0.03], help="share of the packets")
    parser.add_argument("--repeats", type=int, choices=range(1, 100), metavar="N", default=3, help="runs in each row")
    parser.add_argument("--clip", type=Path, default=Path("demo/clip.mp4"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
