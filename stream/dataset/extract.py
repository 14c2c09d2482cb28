"""``unmask extract``: the videos of a data set to a store of face tracks (``engines/training/tracks.py``).

Cached by what a video's tracks depend on, so that a run that was stopped goes on, and one with other settings does not
mix with it. A damaged video is told and counted; the others go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.errors import EngineError
from engines.training.datasets.items import LabelledItem
from engines.training.datasets.splits import places, refuse_leaks
from engines.training.datasets.table import read_dataset
from engines.training.errors import TrainingError
from engines.training.tracks import VIDEOS, index_rows, write_index, write_video
from stream.config import AppConfig
from stream.dataset.cutter import CutSettings, FaceCutter
from stream.errors import ModelError, OutputError, SourceError, UsageError
from stream.faces.open import open_detector
from stream.faces.tracker import open_tracker
from stream.observers import StreamFacts
from stream.parts import quality_limits
from stream.ports import FaceDetector
from stream.score import open_file
from stream.sources.frames import frames_of
from stream.types import StreamName

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What to extract."""

    dataset: str
    root: Path
    split: str | None = None
    limit: int | None = None
    """Videos at most, spread evenly over the data set."""
    force_leaky_split: bool = False


@dataclass
class Tally:
    """How it went."""

    done: int = 0
    cached: int = 0
    without_face: int = 0
    cut_short: int = 0
    """Videos of which only a part could be read."""
    damaged: list[str] = field(default_factory=list)
    """Names of the videos that could not be read at all."""
    pictures: int = 0

    def __str__(self) -> str:
        text = f"{self.done} videos cut, {self.cached} were there, {self.pictures} pictures"
        counts = {"without a usable face": self.without_face, "cut short": self.cut_short, "damaged": len(self.damaged)}
        return text + "".join(f", {count} {what}" for what, count in counts.items() if count)


def run_extract(order: Order, out: Path, settings: CutSettings, config: AppConfig) -> int:
    """Extract, with a progress bar on stderr; one line of result on stdout. Returns the exit code."""
    console = Console(stderr=True)

    def say(text: str) -> None:
        console.print(f"unmask: {text}", style="red", highlight=False, soft_wrap=True, markup=False)

    items = videos_of(order, say)
    extractor = Extractor(out, settings, config, _open_detector(config), say)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(order.dataset, total=len(items))
        tally = extractor.run(items, lambda: progress.advance(task))
    print(f"{out}: {tally}")
    return 0 if tally.done + tally.cached else SourceError.exit_code


def videos_of(order: Order, say: Say) -> list[LabelledItem]:
    """The videos that the order is about. Raises UsageError."""
    try:
        listing = read_dataset(order.dataset, order.root)
        leak = refuse_leaks(places(listing.items), force=order.force_leaky_split)
        items = listing.of_split(order.split).items
    except TrainingError as error:
        raise UsageError(str(error)) from None
    videos = [item for item in items if item.kind == "video"]
    if not videos:
        raise UsageError(f"no videos among the {len(items)} pictures of {order.root}: they need no extracting")
    notes = {
        f"{leak}: what is measured on them is no measure": leak.items,
        f"{listing.missing} videos of the data set's tables are not there": listing.missing,
        f"{len(items) - len(videos)} pictures left out": len(items) - len(videos),
    }
    for note in (note for note, count in notes.items() if count):
        say(note)
    return _spread(videos, order.limit)


class Extractor:
    """The live parts, told what to cut and where to keep it. Used by one thread."""

    def __init__(self, out: Path, settings: CutSettings, config: AppConfig, detector: FaceDetector, say: Say) -> None:
        """``say`` is told of each damaged video, in one line."""
        self.tally = Tally()
        self._out, self._settings, self._config, self._detector, self._say = out, settings, config, detector, say

    def run(self, items: Sequence[LabelledItem], on_video: Callable[[], None] = lambda: None) -> Tally:
        """Cut every video that is not in the store yet, and write the index of them all. Raises OutputError."""
        try:
            (self._out / VIDEOS).mkdir(parents=True, exist_ok=True)
            write_index(self._out, self._rows(items, on_video))
        except OSError as error:
            raise OutputError(f"{self._out} cannot be written ({error.strerror}): choose another --out") from None
        return self.tally

    def _rows(self, items: Sequence[LabelledItem], on_video: Callable[[], None]) -> Iterator[dict[str, str]]:
        """Index rows; the videos are cut as the index comes to them."""
        for item in items:
            try:
                rows = self._rows_of(item)
            except SourceError as error:
                self.tally.damaged.append(item.name)
                self._say(str(error))
                rows = []
            self.tally.pictures += len(rows)
            yield from rows
            on_video()

    def _rows_of(self, item: LabelledItem) -> list[dict[str, str]]:
        path = self._out / VIDEOS / f"{_slug(item.name)}-{content_key(item.path, self._settings)}.zip"
        if path.is_file():
            try:
                rows = index_rows(path, item)
            except TrainingError as error:
                self._say(str(error))
            else:
                self.tally.cached += 1
                return rows
        self._cut(item, path)
        return index_rows(path, item)

    def _cut(self, item: LabelledItem, path: Path) -> None:
        tracker = open_tracker(lost_after_s=self._config.tracker.lost_after_s)
        cutter = FaceCutter(self._detector, tracker, quality_limits(self._config.quality), self._settings)
        source = open_file(StreamName(item.name), item.path, StreamFacts())
        try:
            for frame in frames_of(source):
                with frame:
                    cutter.look(frame)
        finally:
            source.close()
        if source.warning is not None:
            self._say(source.warning)
            self.tally.cut_short += 1
        write_video(path, cutter.tracks)
        self.tally.done += 1
        self.tally.without_face += not cutter.tracks


def content_key(video: Path, settings: CutSettings) -> str:
    """What a video's tracks depend on, in 16 hexadecimal digits. Raises SourceError when the file is gone."""
    try:
        status = video.stat()
    except OSError as error:
        raise SourceError(f"{video} cannot be read ({error.strerror}): check the data set") from None
    facts = [str(video.resolve()), status.st_size, status.st_mtime_ns, asdict(settings)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", name)[-60:]


def _spread(videos: Sequence[LabelledItem], limit: int | None) -> list[LabelledItem]:
    """At most ``limit`` of them, evenly over their order, so that no label is left out."""
    if limit is None or limit >= len(videos):
        return list(videos)
    return [videos[int(place)] for place in np.linspace(0, len(videos) - 1, limit)]


def _open_detector(config: AppConfig) -> FaceDetector:
    """Raises ModelError."""
    detector = config.detector
    try:
        return open_detector(
            detector.name,
            weights=detector.weights,
            threads=config.model.threads or os.cpu_count() or 1,
            confidence=detector.confidence,
            width=detector.width,
        )
    except EngineError as error:
        raise ModelError(str(error)) from error
