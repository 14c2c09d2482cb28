"""``unmask extract`` on clips made on the spot: cut once, gone on with, and never stopped by one bad file."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from engines.training.tracks import INDEX, VIDEOS, read_tracks
from stream.cli import main
from stream.config import AppConfig, QualityConfig
from stream.dataset.cutter import CutSettings
from stream.dataset.extract import Extractor, Order, content_key, videos_of
from stream.errors import OutputError, UsageError
from stream.types import FaceBox, Frame
from tests.fakes import FixedDetector
from tests.stream.faces.pictures import DFDC, needs

ANY_PICTURE = AppConfig(quality=QualityConfig(min_sharpness=0.0, min_brightness=0.0))
SETTINGS = CutSettings(size=48)


def write_clip(path: Path, seed: int = 0) -> None:
    """A second of moving noise, 160x120 at 15 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 15, (160, 120))
    rng = np.random.default_rng(seed)
    for _ in range(15):
        writer.write(rng.integers(0, 255, (120, 160, 3), "uint8"))
    writer.release()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two clips and a picture."""
    write_clip(tmp_path / "set" / "real" / "ann_1.avi")
    write_clip(tmp_path / "set" / "fake" / "swap" / "ann_2.avi", seed=1)
    (tmp_path / "set" / "real" / "bob_1.jpg").touch()
    return tmp_path / "set"


class Told(list[str]):
    """Everything that was said."""

    def __call__(self, text: str) -> None:
        self.append(text)


def detector() -> FixedDetector:
    def face(frame: Frame) -> tuple[FaceBox, ...]:  # noqa: ARG001 - whatever the picture
        return (FaceBox((40, 20, 120, 100), 0.99),)

    return FixedDetector(face)


def extractor(out: Path, say: Told, settings: CutSettings = SETTINGS) -> Extractor:
    return Extractor(out, settings, ANY_PICTURE, detector(), say)


def order(root: Path, **changes: object) -> Order:
    return Order("clips", root, **changes)  # type: ignore[arg-type]  # a test's own keywords


def test_videos_become_tracks_that_training_reads(root: Path, tmp_path: Path) -> None:
    told, seen = Told(), list[int]()
    items = videos_of(order(root), told)
    tally = extractor(tmp_path / "out", told).run(items, lambda: seen.append(1))
    assert (tally.done, tally.cached, tally.damaged, len(seen)) == (2, 0, [], 2)
    assert told == ["1 pictures left out"]
    fake, real = read_tracks(tmp_path / "out")
    assert (fake.name, fake.label, fake.manipulation, fake.source) == ("fake/swap/ann_2", 1, "swap", "ann")
    assert (real.name, real.label) == ("real/ann_1", 0)
    assert len(real) == pytest.approx(5, abs=1)
    assert real.crops().shape == (len(real), 48, 48, 3)
    assert tally.pictures == len(fake) + len(real)


def test_a_second_run_cuts_nothing_and_a_third_only_what_changed(root: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", Told()
    extractor(out, told).run(videos_of(order(root), told))
    before = (out / INDEX).read_bytes()
    tally = extractor(out, told).run(videos_of(order(root), told))
    assert (tally.done, tally.cached) == (0, 2)
    assert (out / INDEX).read_bytes() == before
    write_clip(root / "real" / "ann_1.avi", seed=5)
    os.utime(root / "real" / "ann_1.avi", ns=(1, 1))
    tally = extractor(out, told).run(videos_of(order(root), told))
    assert (tally.done, tally.cached) == (1, 1)


def test_a_run_that_was_killed_goes_on_where_it_stopped(root: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", Told()

    class KilledError(BaseException): ...

    def die() -> None:
        raise KilledError

    with pytest.raises(KilledError):
        extractor(out, told).run(videos_of(order(root), told), die)
    assert not (out / INDEX).exists()
    tally = extractor(out, told).run(videos_of(order(root), told))
    assert (tally.done, tally.cached) == (1, 1)
    assert len(read_tracks(out)) == 2


def test_other_settings_do_not_mix_with_what_is_there(root: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", Told()
    for settings in (SETTINGS, CutSettings(size=32)):
        extractor(out, told, settings).run(videos_of(order(root), told))
    assert {track.crops([0]).shape[1] for track in read_tracks(out)} == {32}
    assert len(list((out / VIDEOS).iterdir())) == 4


def test_a_damaged_video_is_told_and_the_others_go_on(root: Path, tmp_path: Path) -> None:
    (root / "fake" / "broken.mp4").write_bytes(b"not a video")
    (root / "fake" / "empty.mp4").touch()
    told = Told()
    tally = extractor(tmp_path / "out", told).run(videos_of(order(root), told))
    assert tally.damaged == ["fake/broken", "fake/empty"]
    assert len(told) == 3
    assert "2 damaged" in str(tally)
    assert len(read_tracks(tmp_path / "out")) == 2


def test_a_damaged_zip_of_the_store_is_cut_again(root: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", Told()
    extractor(out, told).run(videos_of(order(root), told))
    next((out / VIDEOS).iterdir()).write_bytes(b"half")
    assert extractor(out, told).run(videos_of(order(root), told)).done == 1
    assert sum(len(track.crops()) for track in read_tracks(out)) > 0


def test_a_mended_table_is_heard_without_cutting_again(root: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", Told()
    extractor(out, told).run(videos_of(order(root), told))
    (root / "sources.csv").write_text("name,source\nann_2.avi,somebody\n")
    assert extractor(out, told).run(videos_of(order(root), told)).cached == 2
    assert {track.source for track in read_tracks(out)} == {"ann", "somebody"}


def test_a_limit_is_spread_over_the_set(root: Path) -> None:
    for number in range(3):
        write_clip(root / "real" / f"cid_{number}.avi")
    assert [item.name for item in videos_of(order(root, limit=2), Told())] == ["fake/swap/ann_2", "real/cid_2"]


def leaky(root: Path) -> Path:
    for split in ("train", "test"):
        write_clip(root / split / "real" / "ann_1.avi")
    return root


def test_a_leaky_split_is_refused_unless_forced_and_then_told(tmp_path: Path) -> None:
    root, told = leaky(tmp_path), Told()
    with pytest.raises(UsageError, match="2 pictures leak: 1 sources"):
        videos_of(order(root), told)
    assert len(videos_of(order(root, force_leaky_split=True), told)) == 2
    assert told == ["2 pictures leak: 1 sources lie in two splits: what is measured on them is no measure"]


def test_pictures_alone_need_no_extracting(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    with pytest.raises(UsageError, match="no videos among the 1 pictures"):
        videos_of(order(tmp_path), Told())


def test_a_folder_that_cannot_be_written_is_an_output_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another --out"):
        extractor(tmp_path / "file", Told()).run(videos_of(order(root), Told()))


def test_a_key_follows_the_file_and_the_settings(root: Path) -> None:
    video = root / "real" / "ann_1.avi"
    keys = {content_key(video, settings) for settings in (SETTINGS, SETTINGS, CutSettings(size=48, margin=1.2))}
    assert len(keys) == 2
    os.utime(video, ns=(5, 5))
    assert content_key(video, SETTINGS) not in keys


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "dfcd"], "unknown data set 'dfcd'"),
        (["--dataset", "dfdc"], "metadata.json"),
        (["--dataset", "clips", "--split", "val"], "no items in the split 'val'"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", "--root", str(root), "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--fps", "-1"], ["--fps", "5", "--period", "0.2"]])
def test_odd_numbers_are_refused_before_anything_runs(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["extract", "--dataset", "clips", "--root", str(tmp_path), "--out", str(tmp_path), *arguments])
    assert caught.value.code == 2


def test_the_real_detector_follows_a_real_face(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = needs(DFDC.parent / "tracked" / "aaqaifqrwn_0_0_fake.mp4")
    (tmp_path / "set" / "fake").mkdir(parents=True)
    (tmp_path / "set" / "fake" / clip.name).symlink_to(clip)
    arguments = ["--dataset", "clips", "--root", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--fps", "2"]
    assert main(["extract", *arguments, "--size", "96"]) == 0
    assert "1 videos cut" in capsys.readouterr().out
    (track,) = read_tracks(tmp_path / "out")
    assert track.source == "aaqaifqrwn"
    assert len(track) >= 8
