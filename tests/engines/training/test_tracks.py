"""The store of face tracks: what is written is read back, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.spec import WindowSpec
from engines.training.datasets.items import LabelledItem
from engines.training.degrade import Rgb
from engines.training.errors import TrainingError
from engines.training.track_windows import embed_tracks, joined
from engines.training.tracks import VIDEOS, FaceTrack, Sample, index_rows, read_tracks, stills, write_index, write_video
from tests.fakes import FEATURES, spec_of

ITEM = LabelledItem(Path("a.mp4"), "video", 1, "ann", "train", "swap", "fake/a", "c23")
WINDOW = WindowSpec(slots=5, period_s=0.2, min_samples=3, feature_dim=1)


def picture(level: int, size: int = 32) -> Rgb:
    rgb = np.full((size, size, 3), level, np.uint8)
    rgb[..., 2] = 255 - level
    return rgb


def samples(*slots: int) -> list[Sample]:
    return [Sample(slot * 0.2 + 0.01 * (slot % 2), 90.0 + slot, picture(10 * slot)) for slot in slots]


def store(folder: Path, *videos: tuple[LabelledItem, Mapping[int, list[Sample]]]) -> Path:
    rows = []
    for number, (item, tracks) in enumerate(videos):
        path = folder / VIDEOS / f"{number}.zip"
        write_video(path, tracks)
        rows += index_rows(path, item)
    write_index(folder, rows)
    return folder


def track_of(folder: Path, *slots: int) -> FaceTrack:
    (track,) = read_tracks(store(folder, (ITEM, {3: samples(*slots)})))
    return track


def test_a_track_comes_back_with_its_facts_its_times_and_its_pictures(tmp_path: Path) -> None:
    track = track_of(tmp_path, 0, 1, 3)
    facts = (track.name, track.label, track.source, track.split, track.manipulation, track.compression, track.track_id)
    assert facts == ("fake/a", 1, "ann", "train", "swap", "c23", 3)
    assert track.t_s == (0.0, 0.21, 0.61)
    assert track.box_px == (90.0, 91.0, 93.0)
    crops = track.crops()
    assert crops.shape == (3, 32, 32, 3)
    assert np.abs(crops[2].astype(int) - picture(30)).max() <= 3
    assert np.array_equal(track.crops([2])[0], crops[2])


def test_tracks_of_a_video_and_videos_stay_apart(tmp_path: Path) -> None:
    other = replace(ITEM, name="real/b", label=0, split=None, compression=None)
    tracks = read_tracks(store(tmp_path, (ITEM, {1: samples(0), 2: samples(0, 1)}), (other, {1: samples(0)})))
    assert [(track.name, track.track_id, len(track)) for track in tracks] == [
        ("fake/a", 1, 1),
        ("fake/a", 2, 2),
        ("real/b", 1, 1),
    ]
    assert (tracks[2].split, tracks[2].compression) == (None, None)


def test_missed_moments_leave_slots_out(tmp_path: Path) -> None:
    assert track_of(tmp_path, 2, 3, 6).slots(0.2).tolist() == [0, 1, 4]


def test_a_track_falls_into_windows_with_holes_and_short_ones_are_left_out(tmp_path: Path) -> None:
    windows = list(track_of(tmp_path, 0, 1, 3, 5, 9, 10, 11, 12, 13).windows(WINDOW))
    assert [rows.tolist() for rows in windows] == [[0, 1, -1, 2, -1], [5, 6, 7, 8, -1]]


def test_stills_are_spread_over_the_longest_track_of_each_video(tmp_path: Path) -> None:
    tracks = read_tracks(store(tmp_path, (ITEM, {1: samples(0), 2: samples(*range(9))}), (ITEM, {1: samples(0)})))
    assert [(track.track_id, row) for track, row in stills(tracks)] == [(2, 4), (1, 0)]
    assert [row for track, row in stills(tracks, per_video=3) if track.track_id == 2] == [2, 4, 6]


def test_a_video_without_a_face_is_stored_and_has_no_track(tmp_path: Path) -> None:
    assert read_tracks(store(tmp_path, (ITEM, {}))) == []


def test_a_folder_without_an_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="make them with unmask extract"):
        read_tracks(tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 half a zip"])
def test_a_damaged_zip_is_told_in_one_line(tmp_path: Path, data: bytes) -> None:
    track = track_of(tmp_path, 0, 1)
    track.file.write_bytes(data)
    for read in (track.crops, lambda: index_rows(track.file, ITEM)):
        with pytest.raises(TrainingError, match="extract again"):
            read()


def test_nothing_half_written_is_left_under_the_final_name(tmp_path: Path) -> None:
    broken = [Sample(0.0, 1.0, picture(0)), Sample(0.2, 1.0, np.zeros((0, 0, 3), np.uint8))]
    with pytest.raises(cv2.error):
        write_video(tmp_path / "a.zip", {1: broken})
    assert not (tmp_path / "a.zip").exists()


def mean_backbone() -> ScriptedBackend:
    """Its features are the crop's mean; so is its logit."""

    def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
        means = arrays["crops"].mean((1, 2, 3))[:, None].astype(np.float32)
        return {"features": np.repeat(means, FEATURES, 1), "frame_logit": means}

    size = spec_of().pixels.size
    outputs = TensorSpec("features", (None, FEATURES)), TensorSpec("frame_logit", (None, 1))
    return ScriptedBackend((TensorSpec("crops", (None, 3, size, size)),), outputs, run)


def test_windows_of_tracks_have_the_features_of_their_own_samples(tmp_path: Path) -> None:
    folder = store(tmp_path, (ITEM, {1: samples(*range(12))}), (replace(ITEM, label=0), {1: samples(0, 1, 2)}))
    clips = embed_tracks(mean_backbone(), spec_of(), read_tracks(folder), rendered=6, seed=0)
    assert clips.features.shape == (1, 6, FEATURES)
    assert clips.labels.tolist() == [1]
    assert np.all(np.diff(clips.slots) > 0)
    assert np.all(np.diff(np.argsort(np.argsort(clips.frame_logits[0]))) > 0)
    again = embed_tracks(mean_backbone(), spec_of(), read_tracks(folder), rendered=6, seed=0)
    assert np.array_equal(clips.slots, again.slots)
    both = joined([clips, again])
    assert (len(both), both.features.shape) == (2, (2, 6, FEATURES))


def test_tracks_that_are_all_too_short_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="extract longer videos"):
        embed_tracks(mean_backbone(), spec_of(), [track_of(tmp_path, 0, 1)], rendered=6, seed=0)
