"""The demo's clip: cached, whole or absent, and different in its second half by the swap alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from stream.demo import clip as clip_module
from stream.demo.clip import (
    FPS,
    SCENE_WH,
    SIZE_WH,
    Truth,
    ensure_clip,
    frames_of,
    make_clip,
    read_truth,
    surroundings,
    there_and_back,
    truth_file,
    truth_of,
)
from stream.errors import MissingPartError, OutputError


def has_encoder() -> bool:
    inspect = shutil.which("gst-inspect-1.0")
    return inspect is not None and subprocess.run([inspect, "--exists", "x264enc"], check=False).returncode == 0


def need_encoder() -> None:
    if not has_encoder():
        reason = "gst-launch-1.0 with x264enc is missing (gstreamer1.0-tools, gstreamer1.0-plugins-ugly)"
        if os.environ.get("REQUIRE_GST"):
            pytest.fail(reason)
        pytest.skip(reason)


def test_the_second_half_is_the_swapped_one() -> None:
    truth = truth_of(10.0)
    assert [(part.label, part.start_s, part.end_s) for part in truth.parts] == [("real", 0, 10), ("fake", 10, 20)]
    assert truth.duration_s == 20


def test_a_short_take_is_played_there_and_back_without_a_jump() -> None:
    places = [there_and_back(index, 4) for index in range(9)]
    assert places == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_a_take_of_one_frame_stands_still() -> None:
    assert {there_and_back(index, 1) for index in range(5)} == {0}


def test_surroundings_keep_the_portrait_and_fill_the_rest() -> None:
    rng = np.random.default_rng(2)
    portrait = rng.integers(60, 200, (400, 400, 3)).astype(np.uint8)
    scene = surroundings(portrait, (500, 200))
    assert scene.shape == (SCENE_WH[1], SCENE_WH[0], 3)
    assert np.array_equal(scene[350:450, 650:750], portrait[150:250, 150:250])
    assert scene[0, 0].min() > 50


def test_the_truth_beside_a_clip_reads_back(tmp_path: Path) -> None:
    truth = truth_of(3.0)
    made = make_with(tmp_path, truth, frames=iter(()), works=True)
    assert read_truth(made) == truth


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parts": [{"name": 1}]}', '{"parts": [], "colour": 1}'])
def test_a_truth_that_cannot_be_understood_counts_as_absent(tmp_path: Path, text: str) -> None:
    truth_file(tmp_path / "clip.mp4").write_text(text)
    assert read_truth(tmp_path / "clip.mp4") is None


def test_a_clip_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a clip")
    truth_file(path).write_text(json.dumps(as_json(truth_of(3.0))))
    assert ensure_clip(path, half_s=3.0) == truth_of(3.0)
    assert path.read_bytes() == b"a clip"


def test_a_clip_of_an_older_version_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a clip")
    truth_file(path).write_text(json.dumps({**as_json(truth_of(3.0)), "version": 0}))
    made: list[Truth] = []
    monkeypatch.setattr(clip_module, "make_clip", lambda _path, truth, **_: made.append(truth) or truth)
    ensure_clip(path, half_s=3.0)
    assert made == [truth_of(3.0)]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        make_clip(tmp_path / "file" / "clip.mp4", truth_of(1.0))


def test_without_the_encoders_tool_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPartError, match=r"gstreamer1\.0-tools"):
        make_clip(tmp_path / "clip.mp4", truth_of(1.0))
    assert not (tmp_path / "clip.mp4").exists()


def test_an_encoder_that_fails_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such element"):
        make_with(tmp_path, truth_of(1.0), frames=iter(()), works=False)
    assert list(tmp_path.glob("*.mp4")) == []
    assert list(tmp_path.glob(".*.mp4")) == []


def make_with(folder: Path, truth: Truth, *, frames: Iterator[np.ndarray], works: bool) -> Path:
    """A clip made by a stand-in for gst-launch-1.0, found first on the PATH."""
    tool = folder / "tools" / "gst-launch-1.0"
    tool.parent.mkdir()
    last = (
        'for last; do :; done; cat > "${last#location=}"'
        if works
        else "cat > /dev/null; echo no such element >&2; exit 1"
    )
    tool.write_text(f"#!/bin/sh\n{last}\n")
    tool.chmod(0o755)
    path = folder / "clip.mp4"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
        patch.setattr(clip_module, "frames_of", lambda _: frames)
        make_clip(path, truth)
    return path


def as_json(truth: Truth) -> dict[str, object]:
    return json.loads(json.dumps(clip_module.asdict(truth)))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Four frames: two genuine, two swapped."""
    return list(islice(frames_of(truth_of(2 / FPS)), 4))


def test_both_halves_differ_by_the_face_alone(pictures: list[np.ndarray]) -> None:
    before, genuine, swapped, _ = (picture.astype(int) for picture in pictures)
    still, changed = np.abs(genuine - before).mean(axis=-1), np.abs(swapped - genuine).mean(axis=-1)
    face = (slice(200, 400), slice(480, 660))
    corner = (slice(500, 720), slice(900, 1280))
    assert changed[face].mean() > 2 * still[face].mean()
    assert changed[corner].mean() < 1.5 * still[corner].mean() + 1


def test_pictures_are_the_same_at_every_run(pictures: list[np.ndarray]) -> None:
    again = next(frames_of(truth_of(2 / FPS)))
    assert np.array_equal(pictures[0], again)


def test_a_real_clip_plays_with_its_size_rate_and_length(tmp_path: Path) -> None:
    need_encoder()
    path = tmp_path / "clip.mp4"
    seen: list[float] = []
    truth = ensure_clip(path, half_s=0.2, on_progress=seen.append)
    capture = cv2.VideoCapture(str(path))
    assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == SIZE_WH
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(FPS, abs=0.1)
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert frames == round(truth.duration_s * FPS) == len(seen)
    assert seen[-1] == 1.0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clip.json", "clip.mp4"]
