"""The whole application on real pipelines and scripted models: what a user gets, and what is left after a fault."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from engines.catalog import LoadedModel
from stream.app import Started, watch
from stream.config import AppConfig, MetricsConfig, StreamConfig
from stream.config_web import WebConfig
from stream.errors import OutputError, SourceError, UsageError
from stream.parts import Parts
from stream.scoring.scorer import ModelScorer
from stream.service_notify import ServiceNotify
from stream.types import FaceBox, Frame, StreamState, Verdict
from tests.fakes import FixedDetector, MemorySink, backbone_of, head_of, spec_of
from tests.stream.test_service_notify import Manager


def parts(logit: float = 4.0) -> Parts:
    def face(frame: Frame) -> tuple[FaceBox, ...]:
        width, height = frame.planes.width, frame.planes.height
        return (FaceBox((width * 0.3, height * 0.2, width * 0.6, height * 0.8), 0.99),)

    spec = spec_of()
    backbone, head = backbone_of(), head_of(logit)
    return Parts(LoadedModel(spec, backbone, head), FixedDetector(face), ModelScorer(backbone, head, spec))


def config(tmp_path: Path, *sources: str, **changes: object) -> AppConfig:
    quality = {"min_sharpness": 0.0, "min_brightness": 0.0}
    values = {
        "streams": [StreamConfig(source=source) for source in sources],
        "display": False,
        "metrics": MetricsConfig(port=0),
        "scores": tmp_path / "scores.jsonl",
        "quality": quality,
        "duration_s": 4.0,
        **changes,
    }
    return AppConfig.model_validate(values)


def test_a_plain_watch_imports_nothing_for_page_alerts_and_evidence() -> None:
    """Their packages take time and memory, and may be missing."""
    unwanted = ("fastapi", "uvicorn", "argon2", "paho", "cryptography", "stream.evidence.chain", "stream.web.open")
    code = f"import sys, stream.app; print([name for name in {unwanted!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def frames_in(video: Path) -> int:
    capture = cv2.VideoCapture(str(video))
    count = 0
    while capture.grab():
        count += 1
    return count


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three seconds of moving noise, 320x240 at 15 frames a second."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 15, (320, 240))
    rng = np.random.default_rng(0)
    for _ in range(45):
        writer.write(rng.integers(0, 255, (240, 320, 3), "uint8"))
    writer.release()
    return path


PLAYING = re.compile(r'^unmask_stream_state\{state="playing",stream="test"\} 1\.0$', re.MULTILINE)
CALLED_FAKE = re.compile(r'^unmask_windows_scored_total\{stream="test",verdict="fake"\} [1-9]', re.MULTILINE)


def test_a_live_source_leaves_video_scores_and_metrics(tmp_path: Path) -> None:
    stop, sink = threading.Event(), MemorySink()

    def stop_once_the_metrics_say_it(started: Started) -> None:
        def scrape() -> None:
            text = ""
            while not (PLAYING.search(text) and CALLED_FAKE.search(text)):
                time.sleep(0.05)
                text = urllib.request.urlopen(started.metrics_url or "", timeout=30).read().decode()
            stop.set()

        threading.Thread(target=scrape, daemon=True).start()

    asked = config(tmp_path, "test", save=tmp_path / "out.mp4", duration_s=100.0)
    result = watch(asked, parts=parts(), sinks=[sink], stop=stop, on_started=stop_once_the_metrics_say_it)
    assert stop.is_set(), "the metrics never said that it plays and is called fake"
    assert result.exit_code == 0
    assert frames_in(tmp_path / "out.mp4") > 10
    verdicts = [line["verdict"] for line in lines_of(tmp_path / "scores.jsonl")]
    assert verdicts
    assert verdicts[-1] == "fake"
    assert sink.closed


def test_a_file_is_shown_whole_with_every_score_and_ends(tmp_path: Path, clip: Path) -> None:
    sink = MemorySink()
    began = time.monotonic()
    result = watch(config(tmp_path, str(clip), save=tmp_path / "out.mp4", duration_s=60.0), parts=parts(), sinks=[sink])
    assert result.exit_code == 0
    assert time.monotonic() - began < 50
    assert frames_in(tmp_path / "out.mp4") == 45
    assert sink.scenes[-1].state is StreamState.ENDED
    assert result.facts.drops.total() == 0
    assert sum(result.facts.windows.values()) == len(lines_of(tmp_path / "scores.jsonl")) > 5


def test_stopping_leaves_a_playable_video_and_whole_lines(tmp_path: Path) -> None:
    stop, sink = threading.Event(), MemorySink()

    def stop_amid_scenes(_: Started) -> None:
        def look() -> None:
            while len(sink.scenes) < 20:
                time.sleep(0.05)
            stop.set()

        threading.Thread(target=look, daemon=True).start()

    asked = config(tmp_path, "test", save=tmp_path / "out.mp4", duration_s=60.0)
    watch(asked, parts=parts(), sinks=[sink], stop=stop, on_started=stop_amid_scenes)
    assert frames_in(tmp_path / "out.mp4") > 10
    assert all(
        line["verdict"] in {verdict.value for verdict in Verdict} for line in lines_of(tmp_path / "scores.jsonl")
    )


def test_a_service_manager_hears_of_start_life_and_end(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    service = ServiceNotify(manager.address, watchdog_s=1.0)
    watch(config(tmp_path, "test", duration_s=2.0), parts=parts(), service=service)
    heard = manager.heard()
    assert (heard[0], heard[-1]) == ("READY=1", "STOPPING=1")
    assert heard.count("WATCHDOG=1") >= 2
    assert "STATUS=1 stream: 1 playing" in heard
    manager.close()


def test_a_run_that_cannot_start_is_never_called_ready(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with pytest.raises(SourceError):
        watch(config(tmp_path, str(tmp_path / "none.mp4")), parts=parts(), service=ServiceNotify(manager.address))
    assert manager.heard() == []
    manager.close()


def test_inference_that_hangs_starves_the_watchdog(tmp_path: Path) -> None:
    """The main thread is alive and well meanwhile: only the analysis counts."""
    manager, stop, hangs, goes_on = Manager(str(tmp_path / "notify")), *(threading.Event() for _ in range(3))
    good, later = parts(), list[str]()

    def hang(_: Frame) -> tuple[FaceBox, ...]:
        hangs.set()
        goes_on.wait(60)
        return ()

    def listen() -> None:
        hangs.wait(60)
        time.sleep(1.0)
        manager.heard()
        time.sleep(1.5)
        later.extend(manager.heard())
        stop.set()
        goes_on.set()

    threading.Thread(target=listen, daemon=True).start()
    service = ServiceNotify(manager.address, watchdog_s=0.4)
    hanging = Parts(good.model, FixedDetector(hang), good.scorer)
    watch(config(tmp_path, "test", duration_s=60.0), parts=hanging, stop=stop, service=service)
    assert stop.is_set()
    assert "WATCHDOG=1" not in later
    manager.close()


def test_a_missing_file_is_told_before_anything_runs(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(SourceError, match=r"no file at .*none\.mp4: check the path"):
        watch(config(tmp_path, "test", str(tmp_path / "none.mp4"), save=tmp_path / "{name}.mp4"), parts=parts())
    assert threading.active_count() <= before


@pytest.mark.parametrize("option", ["save", "scores"])
def test_a_watched_file_is_never_written_over(tmp_path: Path, clip: Path, option: str) -> None:
    before = clip.read_bytes()
    with pytest.raises(UsageError, match="would be overwritten"):
        watch(config(tmp_path, str(clip), **{option: clip}), parts=parts())
    assert clip.read_bytes() == before


def test_a_file_that_is_no_video_fails_alone(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "letter.mp4").write_bytes(b"Dear Sir or Madam, " * 500)
    result = watch(config(tmp_path, str(tmp_path / "letter.mp4"), str(clip), duration_s=60.0), parts=parts())
    assert result.exit_code == 0
    assert len(result.failures) == 1
    assert "letter.mp4" in result.failures[0]
    assert lines_of(tmp_path / "scores.jsonl")


def test_when_every_source_fails_the_exit_code_says_so(tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_bytes(b"Dear Sir or Madam, " * 500)
    assert watch(config(tmp_path, str(tmp_path / "letter.mp4")), parts=parts()).exit_code == 4


def test_a_taken_metrics_port_is_one_line_before_anything_runs(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(OutputError, match="port"):
        watch(config(tmp_path, "test", metrics=_taken()), parts=parts())
    assert threading.active_count() <= before


def test_a_taken_port_of_the_page_is_one_line_even_without_a_display(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    page = WebConfig(enabled=True, port=_taken().port)
    with pytest.raises(OutputError, match="choose another port with --web"):
        watch(config(tmp_path, "test", display="auto", web=page), parts=parts())
    assert caplog.text == ""


def _taken() -> MetricsConfig:
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    _TAKEN.append(listener)
    return MetricsConfig(port=listener.getsockname()[1])


_TAKEN: list[object] = []


def test_watching_again_and_again_leaves_no_thread_and_no_descriptor(tmp_path: Path, clip: Path) -> None:
    def once() -> None:
        watch(config(tmp_path, str(clip), duration_s=20.0), parts=parts())

    once()
    threads, descriptors = threading.active_count(), _descriptors()
    for _ in range(5):
        once()
    assert threading.active_count() <= threads
    assert _descriptors() <= descriptors + 2


def _descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_full_collection_looks_at_nothing_that_was_opened_before_the_video() -> None:
    """It holds every thread up, and with it every stream's pictures, for as long as it looks."""
    looked_at, before = list[int](), len(gc.get_objects())
    asked = config(Path(), "test", scores=None, duration_s=0.2)
    watch(asked, parts=parts(), on_started=lambda _: looked_at.append(len(gc.get_objects())))
    assert looked_at[0] < before / 10
    assert gc.get_freeze_count() == 0, "garbage would never be freed after the watch"


def test_without_a_display_it_watches_without_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert watch(config(tmp_path, "test", display="auto", duration_s=1.0), parts=parts()).exit_code == 0
    assert "watching without a window" in caplog.text
    with pytest.raises(OutputError, match="no display here"):
        watch(config(tmp_path, "test", display=True), parts=parts())
