"""Labelled clips through the live path, with a scripted model and a real decoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from engines.training.labelled_clips import find_clips
from stream.cli import main
from stream.evaluation.clips import FrameLogitRecorder, score_clips
from stream.parts import Parts
from tests.fakes import SIZE, backbone_of
from tests.stream.test_app import clip, parts  # noqa: F401 - clip is a fixture
from tests.stream.test_score import ANY_PICTURE


@pytest.fixture
def folder(clip: Path, tmp_path: Path) -> Path:  # noqa: F811
    root = tmp_path / "clips"
    root.mkdir()
    shutil.copy(clip, root / "a_fake.mp4")
    shutil.copy(clip, root / "b_real.mp4")
    (root / "c_real.mp4").write_bytes(b"no video")
    (root / "d.mp4").write_bytes(b"")
    return root


def test_each_clip_says_what_unmask_score_says_and_a_broken_one_is_kept_with_its_reason(folder: Path) -> None:
    told: list[str] = []
    found = score_clips(find_clips(folder).clips, ANY_PICTURE, parts(4.0), 1.0, told.append)
    assert told == ["a_fake.mp4", "b_real.mp4", "c_real.mp4"]
    assert list(found.failed) == ["c_real.mp4"]
    scored = found.scored()
    np.testing.assert_allclose(scored.probabilities, 0.982, atol=0.001)
    np.testing.assert_allclose(scored.logits, 4.0, atol=0.05)
    assert scored.labels.tolist() == [1, 0]
    frames = found.frames(parts(4.0).model.spec)
    assert {item.video for item in frames.items} == {"a_fake.mp4", "b_real.mp4"}
    assert len(frames.items) > 10


def test_a_recorder_gives_each_logit_once() -> None:
    recorder = FrameLogitRecorder(backbone_of())
    recorder.infer({"crops": np.zeros((3, 3, SIZE, SIZE), np.float32)})
    recorder.infer({"crops": np.zeros((2, 3, SIZE, SIZE), np.float32)})
    assert recorder.take().tolist() == [0.0] * 5
    assert len(recorder.take()) == 0


def test_json_tells_scored_unscored_failed_and_unlabelled_clips(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fakes(*_: object, **__: object) -> Parts:
        return parts(4.0)

    monkeypatch.setattr("stream.parts.open_parts", fakes)
    monkeypatch.setattr("stream.evaluation.sets.score_config", lambda _: ANY_PICTURE)
    words = ["evaluate", "--dataset", "clips", "--root", str(folder), "--bootstrap", "10", "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["items"], found["unscored"], found["unlabelled"]) == (2, 0, ["d.mp4"])
    assert list(found["failed"]) == ["c_real.mp4"]
    assert "c_real.mp4" in said.err
    assert found["auc"] == found["video_auc"] == 0.5
    assert [one["label"] for one in found["clips"]] == ["FAKE", "REAL"]
    assert found["split"] is None
