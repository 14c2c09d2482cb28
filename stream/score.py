"""``unmask score``: the live detector over files, as fast as this machine goes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from stream.config import AppConfig
from stream.errors import UnmaskError, UsageError
from stream.observers import StreamFacts
from stream.parts import Parts, build_analysis, build_analyzer, open_parts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.scoring.story import TrackSummary
from stream.sources.file import FileSource
from stream.sources.frames import frames_of
from stream.sources.open import open_source
from stream.sources.uri import parse_source
from stream.types import StreamName, Verdict

FAKE_FOR_S = 3.0
"""So long a stretch of ``fake`` makes a file fake, whatever the rest of it says: what an alert's rule waits for."""
OnProgress = Callable[[float, float | None], None]
"""Told the seconds done and the file's length in seconds, None while that is not known."""


def _ignore(done_s: float, duration_s: float | None) -> None:
    """Nobody asked for progress."""


@dataclass(frozen=True)
class FileScore:
    """What one file says."""

    file: str
    fake_probability: float | None
    """Of the most suspicious track; None when no face was scored."""
    verdict: Verdict
    """``fake`` too when a face was so for ``FAKE_FOR_S`` on end, and its mean says otherwise."""
    tracks: tuple[TrackSummary, ...]
    warning: str | None = None
    """What was wrong with a file of which only a part could be scored."""

    def to_json(self) -> dict[str, Any]:
        """Keys: file, fake_probability, verdict, tracks[]; probabilities and seconds rounded for people."""
        return {
            "file": self.file,
            "fake_probability": _rounded(self.fake_probability),
            "verdict": self.verdict.value,
            "tracks": [_track_json(track) for track in self.tracks],
        }


def score_files(files: Sequence[Path], config: AppConfig, *, as_json: bool = False) -> int:
    """Score and print each file; a file that cannot be read is one line on stderr. Returns the exit code."""
    parts = open_parts(config, threads=os.cpu_count())
    code = 0
    try:
        with _progress() as progress:
            for file in files:
                code = max(code, _score_and_print(file, config, parts, progress, as_json))
    finally:
        parts.close()
    return code


def _progress() -> Progress:
    """On stderr, so that stdout holds results only; silent when stderr is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} s"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal)


def score_file(path: Path, config: AppConfig, parts: Parts, *, on_progress: OnProgress = _ignore) -> FileScore:
    """Run the whole file through the analysis. Raises SourceError or UsageError when that cannot be."""
    facts = StreamFacts()
    name = StreamName("file")
    analyzer = build_analyzer(config, parts, facts, facts)
    analysis = build_analysis(config, parts, name, keeps_summaries=True)
    source = open_file(name, path, facts)
    try:
        _run_through(source, analyzer, analysis, on_progress)
    finally:
        source.close()
    return summary_of(str(path), analysis.book.summaries(), source.warning)


def open_file(name: StreamName, path: Path, facts: StreamFacts) -> FileSource:
    """The video of a path; it must be closed. Raises SourceError, and UsageError for a live source."""
    source = open_source(name, parse_source(str(path)), observer=facts)
    if isinstance(source, FileSource):
        return source
    source.close()
    raise UsageError(f"{path} is a live source, not a file: use unmask watch")


def summary_of(file: str, tracks: Sequence[TrackSummary], warning: str | None = None) -> FileScore:
    """The file's word is that of its most suspicious track, or ``fake`` when any was so for long enough on end.

    Without a scored face it is unsure, and no number.
    """
    scored = [track for track in tracks if track.fake_probability is not None]
    if not scored:
        return FileScore(file, None, Verdict.UNSURE, tuple(tracks), warning)
    worst = max(scored, key=lambda track: track.fake_probability or 0.0)
    verdict = Verdict.FAKE if any(fake_for_long(track) for track in scored) else worst.verdict
    return FileScore(file, worst.fake_probability, verdict, tuple(tracks), warning)


def fake_for_long(track: TrackSummary) -> tuple[tuple[float, float], ...]:
    """Its stretches of ``fake`` that are long enough to count, (start, end) in seconds."""
    return tuple((start_s, end_s) for start_s, end_s in track.fake_stretches if end_s - start_s >= FAKE_FOR_S)


def _run_through(source: FileSource, analyzer: Analyzer, analysis: StreamAnalysis, on_progress: OnProgress) -> None:
    for frame in frames_of(source):
        with frame:
            if analyzer.is_due(analysis, frame):
                analyzer.step([(analysis, frame)])
                on_progress(frame.pts_ns / 1e9, source.duration_s)


def _track_json(track: TrackSummary) -> dict[str, Any]:
    return {
        "track_id": track.track_id,
        "fake_probability": _rounded(track.fake_probability),
        "verdict": track.verdict.value,
        "start_s": _rounded(track.start_s),
        "end_s": _rounded(track.end_s),
        "windows": track.windows,
        "fake_stretches": [
            {"start_s": _rounded(start_s), "end_s": _rounded(end_s)} for start_s, end_s in track.fake_stretches
        ],
        "timeline": [{"t_s": _rounded(t_s), "fake_probability": _rounded(value)} for t_s, value in track.timeline],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _score_and_print(file: Path, config: AppConfig, parts: Parts, progress: Progress, as_json: bool) -> int:
    """Score one file; its result goes to stdout, an error to stderr. Returns the exit code."""
    task = progress.add_task(file.name, total=None)
    try:
        score = score_file(file, config, parts, on_progress=_advancer(progress, task))
    except UnmaskError as error:
        _complain(progress, str(error))
        return error.exit_code
    finally:
        progress.remove_task(task)
    if score.warning is not None:
        _complain(progress, score.warning)
    print(json.dumps(score.to_json()) if as_json else "\n".join(report_lines(score)), flush=True)
    return 0


def _complain(progress: Progress, text: str) -> None:
    progress.console.print(f"unmask: {text}", style="red", highlight=False, soft_wrap=True, markup=False)


def _advancer(progress: Progress, task: TaskID) -> OnProgress:
    def advance(done_s: float, duration_s: float | None) -> None:
        progress.update(task, completed=done_s, total=duration_s)

    return advance


def report_lines(score: FileScore) -> list[str]:
    """One line for the file and one for each scored face."""
    in_part = score.verdict is Verdict.FAKE and not any(track.verdict is Verdict.FAKE for track in score.tracks)
    mean = " on average" if in_part else ""
    head = f"{score.file}: {_words(score.verdict, score.fake_probability)}{mean}"
    return [head, *(_track_line(track) for track in score.tracks if track.windows)]


def _track_line(track: TrackSummary) -> str:
    span = f"{track.start_s:.1f}-{track.end_s:.1f} s"
    line = f"  face {track.track_id}: {_words(track.verdict, track.fake_probability)}, {span}, {track.windows} windows"
    if not track.timeline:
        return line
    at_s, highest = max(track.timeline, key=lambda point: point[1])
    told = ", ".join(f"{start_s:.1f}-{end_s:.1f} s" for start_s, end_s in fake_for_long(track))
    return f"{line}, highest {highest:.2f} at {at_s:.1f} s" + (f", fake in {told}" if told else "")


def _words(verdict: Verdict, probability: float | None) -> str:
    return "no face scored" if probability is None else f"{verdict.value}, fake probability {probability:.2f}"
