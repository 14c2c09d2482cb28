"""A store of face tracks cut out of videos: one zip a video, and ``index.csv`` with a row for each picture.

A zip holds ``video.json`` and one JPEG a sample. It appears whole or not at all, so that a run that was killed goes on
where it stopped. ``unmask extract`` writes the store; training reads it.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.jpeg import jpeg_from_rgb
from engines.spec import WindowSpec
from engines.training.datasets.items import LabelledItem
from engines.training.degrade import Rgb
from engines.training.errors import TrainingError
from engines.training.faces import rgb_from_jpeg
from engines.whole_file import replacing, write_whole

INDEX = "index.csv"
VIDEOS = "videos"
"""Folder of the zips."""
_ABOUT = "video.json"
_QUALITY = 95
_OF_SAMPLE = ("picture", "track_id", "t_s", "box_px")
_OF_ITEM = ("name", "label", "source", "split", "manipulation", "compression")
FIELDS = ("file", *_OF_SAMPLE, *_OF_ITEM)
"""Columns of the index."""


@dataclass(frozen=True, repr=False)
class Sample:
    """One picture of a track."""

    t_s: float
    """Media time."""
    box_px: float
    """Side of the crop in the frame, in pixels."""
    rgb: Rgb
    """(S, S, 3)"""


@dataclass(frozen=True)
class FaceTrack:
    """One face of one video over time; its pictures stay in the zip until they are asked for."""

    file: Path
    pictures: tuple[str, ...]
    """Names in the zip, in order of time."""
    name: str
    """Of the video in its data set."""
    track_id: int
    label: int
    """1 = fake."""
    source: str
    split: str | None
    manipulation: str
    compression: str | None
    t_s: tuple[float, ...]
    """Media time of each picture."""
    box_px: tuple[float, ...]
    """Side of each crop in its frame, in pixels."""

    def __len__(self) -> int:
        return len(self.pictures)

    def crops(self, rows: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """(T, S, S, 3) RGB of the given samples, or of all. Raises TrainingError."""
        chosen = range(len(self)) if rows is None else rows
        try:
            with zipfile.ZipFile(self.file) as packed:
                return np.stack([rgb_from_jpeg(packed.read(self.pictures[row])) for row in chosen])
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise TrainingError(f"{self.file} cannot be read ({error}): remove it and extract again") from None

    def slots(self, period_s: float) -> NDArray[np.int64]:
        """(T,) the window slot of each sample, counted from the track's first; gaps leave slots out."""
        return np.round((np.array(self.t_s) - self.t_s[0]) / period_s).astype(np.int64)

    def windows(self, window: WindowSpec) -> Iterator[NDArray[np.int64]]:
        """The track in windows that do not overlap: (T,) the sample in each slot, -1 where there is none.

        Windows with too few samples for a score are left out.
        """
        slots = self.slots(window.period_s)
        for start in range(0, int(slots[-1]) + 1, window.slots):
            rows = np.full(window.slots, -1, np.int64)
            inside = np.flatnonzero((slots >= start) & (slots < start + window.slots))
            rows[slots[inside] - start] = inside
            if (rows >= 0).sum() >= window.min_samples:
                yield rows


def write_video(path: Path, tracks: Mapping[int, Sequence[Sample]]) -> None:
    """The zip of one video; it appears in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = []
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        for track_id, samples in sorted(tracks.items()):
            for number, sample in enumerate(samples):
                picture = f"{track_id:04}/{number:05}.jpg"
                # whole chroma: the video has halved it once already
                packed.writestr(picture, jpeg_from_rgb(sample.rgb, _QUALITY, whole_chroma=True))
                about.append((picture, track_id, round(sample.t_s, 3), round(sample.box_px, 1)))
        packed.writestr(_ABOUT, json.dumps([dict(zip(_OF_SAMPLE, values, strict=True)) for values in about]))


def index_rows(path: Path, item: LabelledItem) -> list[dict[str, str]]:
    """A row for each picture of a video that was written. Raises TrainingError for what is not such a zip.

    What the data set says of the video is not in the zip: tables are mended more often than videos are.
    """
    of_item = {field: "" if getattr(item, field) is None else str(getattr(item, field)) for field in _OF_ITEM}
    try:
        with zipfile.ZipFile(path) as packed:
            samples = json.loads(packed.read(_ABOUT))
        return [
            {"file": path.name, **{field: str(sample[field]) for field in _OF_SAMPLE}, **of_item} for sample in samples
        ]
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} cannot be read ({error}): remove it and extract again") from None


def write_index(folder: Path, rows: Iterable[dict[str, str]]) -> None:
    """``index.csv``, in one step."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, FIELDS)
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / INDEX, table.getvalue().encode())


def read_tracks(folder: Path) -> list[FaceTrack]:
    """Every track of a store, video by video. Raises TrainingError when ``index.csv`` is absent or not of one."""
    try:
        with (folder / INDEX).open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [_track(folder, list(group)) for _, group in groupby(rows, lambda row: (row["file"], row["track_id"]))]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise TrainingError(f"no face tracks at {folder} ({error}): make them with unmask extract") from None


def stills(tracks: Sequence[FaceTrack], per_video: int = 1) -> list[tuple[FaceTrack, int]]:
    """(track, sample) of pictures evenly spaced over the longest track of each video."""
    chosen = []
    for _, group in groupby(tracks, lambda track: track.file):
        longest = max(group, key=len)
        places = np.linspace(0, len(longest), min(per_video, len(longest)) + 2)[1:-1]
        chosen += [(longest, min(int(place), len(longest) - 1)) for place in places]
    return chosen


def _track(folder: Path, rows: Sequence[dict[str, str]]) -> FaceTrack:
    first = rows[0]
    return FaceTrack(
        folder / VIDEOS / first["file"],
        tuple(row["picture"] for row in rows),
        first["name"],
        int(first["track_id"]),
        int(first["label"]),
        first["source"],
        first["split"] or None,
        first["manipulation"],
        first["compression"] or None,
        tuple(float(row["t_s"]) for row in rows),
        tuple(float(row["box_px"]) for row in rows),
    )
