"""``unmask demo``: the whole live path on a made-up camera, and a verdict on the verdicts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from stream.app import Started, watch
from stream.config import AppConfig, Display, MetricsConfig, StreamConfig
from stream.contact_sheet import write_contact_sheet
from stream.demo.clip import Truth, ensure_clip
from stream.demo.judge import PartResult, judge, read_lines
from stream.errors import OutputError, SourceError
from stream.gst.camera import CameraOptions, RtspCamera
from stream.parts import Parts
from stream.sinks.table import TableSink
from stream.types import Scene, StreamState

PATIENCE = 4.0
"""A machine this many times too slow may still finish; a camera that stops sending is noticed long before."""
SLACK_S = 60.0
"""For loading and connecting."""
SCRAPE_BEFORE_S = 3.0
"""The metrics are fetched this long before the clip's end, while everything runs."""
END_BEFORE_S = 0.3
SCRAPE_TIMEOUT_S = 5.0
COLOURS = {"real": "green", "fake": "bold red", "unsure": "yellow"}


@dataclass(frozen=True)
class DemoFiles:
    """What the demo leaves behind."""

    folder: Path

    @property
    def clip(self) -> Path:
        return self.folder / "clip.mp4"

    @property
    def video(self) -> Path:
        return self.folder / "overlay.mp4"

    @property
    def sheet(self) -> Path:
        return self.folder / "overlay.png"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.jsonl"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.txt"

    @property
    def results(self) -> tuple[Path, ...]:
        """All but the clip, which is kept from run to run."""
        return self.video, self.sheet, self.scores, self.metrics


def run_demo(
    folder: Path,
    *,
    console: Console | None = None,
    half_s: float = 22.0,
    display: Display = "auto",
    parts: Parts | None = None,
) -> int:
    """Make the clip if absent, watch it as a camera, write the results, judge them. 0 when every verdict is right.

    ``parts`` are used in place of the default model and detector. Raises UnmaskError when the path is broken.
    """
    console = console or Console()
    files = DemoFiles(folder)
    truth = clip_of(files, half_s, console)
    _remove_old(files)
    _watch(files, truth, console, display=display, parts=parts)
    _check_written(files)
    write_contact_sheet(files.video, files.sheet)
    return _report(judge(read_lines(files.scores), truth), files, console)


class DemoProgress:
    """A sink that tells when the clip is nearly over, and when it is."""

    def __init__(self, duration_s: float) -> None:
        self._duration_s = duration_s
        self._has_played = False
        self.is_ending = threading.Event()
        """Time to fetch the metrics."""
        self.is_over = threading.Event()
        """The clip has ended, or its camera was lost."""

    def publish(self, scene: Scene) -> None:
        is_playing = scene.state is StreamState.PLAYING
        left_s = self._duration_s - scene.pts_ns / 1e9
        if is_playing and left_s <= SCRAPE_BEFORE_S:
            self.is_ending.set()
        if left_s <= END_BEFORE_S or (self._has_played and not is_playing):
            self.is_over.set()
        self._has_played = self._has_played or is_playing

    def close(self) -> None:
        self.is_ending.set()


def clip_of(files: DemoFiles, half_s: float, console: Console) -> Truth:
    """The clip, made where it is absent, with a bar to watch meanwhile."""
    columns = TextColumn("making the demo's clip"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("clip", total=1.0, visible=False)

        def show(share: float) -> None:
            progress.update(task, completed=share, visible=True)

        return ensure_clip(files.clip, half_s=half_s, on_progress=show)


def _remove_old(files: DemoFiles) -> None:
    """An earlier run's results must not pass for this one's."""
    for path in files.results:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot remove {path}: {error.strerror}; remove it yourself") from error


def _watch(files: DemoFiles, truth: Truth, console: Console, *, display: Display, parts: Parts | None) -> None:
    progress = DemoProgress(truth.duration_s)
    with ExitStack() as closing:
        camera = closing.enter_context(RtspCamera(files.clip, CameraOptions(loops=False)))
        console.print(f"camera: {camera.url}, genuine at first, swapped from second {truth.parts[1].start_s:.0f} on")
        scrape = _Scrape(progress.is_ending, files.metrics)
        watch(
            demo_config(files, camera.url, truth, display=display),
            stop=progress.is_over,
            sinks=[TableSink(console), progress],
            on_started=scrape.start,
            parts=parts,
        )
        if not progress.is_over.is_set():
            raise SourceError("the demo's camera did not play to its end: run unmask doctor", reason="stalled")
        scrape.join()


def demo_config(files: DemoFiles, url: str, truth: Truth, *, display: Display = "auto") -> AppConfig:
    """The default path with every output on."""
    return AppConfig(
        streams=(StreamConfig(source=url, name="demo", save=files.video),),
        scores=files.scores,
        metrics=MetricsConfig(port=0),
        display=display,
        duration_s=PATIENCE * truth.duration_s + SLACK_S,
    )


class _Scrape:
    """Fetches the metrics once, over HTTP as Prometheus does, on a thread of its own when ``when`` is set."""

    def __init__(self, when: threading.Event, path: Path) -> None:
        self._when = when
        self._path = path
        self._thread: threading.Thread | None = None
        self._problem = "the metrics server was not started"

    def start(self, started: Started) -> None:
        self._thread = threading.Thread(target=self._run, args=(started.metrics_url,), name="scrape", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Raises OutputError when nothing was fetched."""
        if self._thread is not None:
            self._thread.join(2 * SCRAPE_TIMEOUT_S)
        if self._problem:
            raise OutputError(f"the metrics could not be fetched: {self._problem}")

    def _run(self, url: str | None) -> None:
        self._when.wait()
        try:
            with urlopen(str(url), timeout=SCRAPE_TIMEOUT_S) as reply:  # nosec B310 # our own metrics
                self._path.write_bytes(reply.read())
            self._problem = ""
        except (URLError, OSError, ValueError) as error:
            self._problem = str(error)


def _check_written(files: DemoFiles) -> None:
    for path in (files.video, files.scores, files.metrics):
        if not path.is_file() or not path.stat().st_size:
            raise OutputError(f"the demo wrote no {path}: run unmask doctor")


def _report(results: Sequence[PartResult], files: DemoFiles, console: Console) -> int:
    console.print(_table(results))
    wrong = [result for result in results if not result.is_right]
    for result in wrong:
        console.print(f"demo failed: {result.complaint}", style="bold red")
    console.print(f"video {files.video}, at a glance {files.sheet}, scores {files.scores}, metrics {files.metrics}")
    if not wrong:
        console.print("demo passed: every part ended with the right verdict", style="bold green")
        console.print("see it live in a browser: make page")
    return 1 if wrong else 0


def _table(results: Sequence[PartResult]) -> Table:
    table = Table(title="unmask demo", title_justify="left", box=None, header_style="dim", pad_edge=False)
    for title in ("part", "seconds", "must end", "ended"):
        table.add_column(title)
    for title in ("fake", "windows"):
        table.add_column(title, justify="right")
    for result in results:
        table.add_row(*_row(result))
    return table


def _row(result: PartResult) -> tuple[str, ...]:
    part = result.part
    verdict = result.verdict or "not scored"
    likely = "-" if result.fake_probability is None else f"{100 * result.fake_probability:.0f}%"
    coloured = f"[{COLOURS.get(verdict, 'yellow')}]{verdict}[/]"
    return part.name, f"{part.start_s:.0f}-{part.end_s:.0f}", part.label, coloured, likely, str(result.windows)
