"""The demo end to end on a short clip: real camera, real pipelines, scripted model."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from rich.console import Console

if not os.environ.get("REQUIRE_GST"):
    pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from engines.catalog import LoadedModel
from stream.demo.clip import ensure_clip, truth_of
from stream.demo.run import DemoFiles, DemoProgress, demo_config, run_demo
from stream.errors import OutputError
from stream.parts import Parts
from stream.scoring.scorer import ModelScorer
from stream.types import FaceBox, Frame, Scene, StreamName, StreamState
from tests.fakes import FixedDetector, backbone_of, head_of, spec_of

HALF_S = 4.0


def need_gstreamer() -> None:
    tool = shutil.which("gst-inspect-1.0")
    if tool and subprocess.run([tool, "--exists", "x264enc"], check=False).returncode == 0:
        return
    reason = "x264enc is missing: apt install gstreamer1.0-tools gstreamer1.0-plugins-ugly"
    if os.environ.get("REQUIRE_GST"):
        pytest.fail(reason)
    pytest.skip(reason)


def scripted_parts(logit_at: Callable[[float], float]) -> Parts:
    """A model whose logit depends on media time alone, and a detector that finds the clip's one face."""
    now_s = [0.0]

    def face(frame: Frame) -> tuple[FaceBox, ...]:
        now_s[0] = frame.pts_ns / 1e9
        return (FaceBox((460.0, 150.0, 670.0, 400.0), 0.99),)

    spec, backbone = spec_of(period_s=0.1), backbone_of()
    head = head_of(lambda features, _mask: [logit_at(now_s[0])] * len(features))
    return Parts(LoadedModel(spec, backbone, head), FixedDetector(face), ModelScorer(backbone, head, spec))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short clip in it."""
    need_gstreamer()
    made = tmp_path_factory.mktemp("demo")
    ensure_clip(DemoFiles(made).clip, half_s=HALF_S)
    return made


def run(folder: Path, parts: Parts) -> tuple[int, str]:
    text = io.StringIO()
    console = Console(file=text, width=160)
    code = run_demo(folder, console=console, half_s=HALF_S, display=False, parts=parts)
    return code, text.getvalue()


@pytest.mark.timeout(400)
def test_a_model_that_tells_the_halves_apart_passes_and_leaves_every_result(folder: Path) -> None:
    code, said = run(folder, scripted_parts(lambda at_s: 6.0 if at_s >= HALF_S else -6.0))
    files = DemoFiles(folder)
    assert code == 0, said
    assert "camera: rtsp://127.0.0.1:" in said
    assert all(str(path) in "".join(said.split()) for path in files.results)  # long lines are broken
    assert said.splitlines()[-2] == "demo passed: every part ended with the right verdict"
    assert "make page" in said.splitlines()[-1]
    assert all(path.stat().st_size for path in files.results)
    assert "unmask_stream_frames_total" in files.metrics.read_text()
    assert cv2.imread(str(files.sheet)) is not None
    assert cv2.VideoCapture(str(files.video)).read()[0]


@pytest.mark.timeout(400)
def test_a_model_that_calls_everything_fake_fails_and_the_part_is_named(folder: Path) -> None:
    code, said = run(folder, scripted_parts(lambda _: 6.0))
    assert code == 1
    assert "demo failed: the genuine part ended fake" in said
    assert "demo passed" not in said
    assert "the swapped part ended" not in said


def test_results_of_an_earlier_run_are_removed_before_anything_can_go_wrong(folder: Path, tmp_path: Path) -> None:
    files = DemoFiles(tmp_path)
    shutil.copy(DemoFiles(folder).clip, files.clip)
    shutil.copy(DemoFiles(folder).clip.with_suffix(".json"), files.clip.with_suffix(".json"))
    files.scores.mkdir()
    with pytest.raises(OutputError, match="remove"):
        run(tmp_path, scripted_parts(lambda _: 0.0))


def scene(state: StreamState, pts_s: float) -> Scene:
    return Scene(StreamName("demo"), pts_ns=round(pts_s * 1e9), state=state)


def test_the_demo_goes_on_while_its_camera_connects_and_plays() -> None:
    progress = DemoProgress(40.0)
    for state, pts_s in ((StreamState.CONNECTING, 0.0), (StreamState.PLAYING, 0.1), (StreamState.PLAYING, 30.0)):
        progress.publish(scene(state, pts_s))
    assert not progress.is_ending.is_set()
    assert not progress.is_over.is_set()


def test_metrics_are_due_shortly_before_the_end() -> None:
    progress = DemoProgress(40.0)
    progress.publish(scene(StreamState.PLAYING, 37.5))
    assert progress.is_ending.is_set()
    assert not progress.is_over.is_set()


@pytest.mark.parametrize("state", [StreamState.RECONNECTING, StreamState.ENDED, StreamState.FAILED])
def test_a_camera_that_goes_away_ends_the_demo(state: StreamState) -> None:
    progress = DemoProgress(40.0)
    progress.publish(scene(StreamState.PLAYING, 12.0))
    progress.publish(scene(state, 12.0))
    assert progress.is_over.is_set()


def test_the_clips_end_ends_the_demo() -> None:
    progress = DemoProgress(40.0)
    progress.publish(scene(StreamState.PLAYING, 39.8))
    assert progress.is_over.is_set()


def test_a_closed_watch_lets_the_metrics_thread_go() -> None:
    progress = DemoProgress(40.0)
    progress.close()
    assert progress.is_ending.is_set()


def test_the_demo_turns_every_output_on(tmp_path: Path) -> None:
    files = DemoFiles(tmp_path)
    config = demo_config(files, "rtsp://127.0.0.1:8555/camera", truth_of(HALF_S))
    assert config.streams[0].save == files.video
    assert config.scores == files.scores
    assert config.metrics.enabled
    assert config.display == "auto"
    assert config.duration_s is not None
    assert config.duration_s > 2 * HALF_S
