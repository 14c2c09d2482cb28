"""Evidence of a whole watch: a real camera over RTSP, a scripted model, an alert, and what then lies on disk."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.stream.sources.video_parts import PATIENCE_S, need_gst

need_gst()

from engines.catalog import LoadedModel  # noqa: E402
from stream.alerts.alert import Alert, AlertKind, AlertState, Severity  # noqa: E402
from stream.app import Started, watch  # noqa: E402
from stream.config import AppConfig, MetricsConfig, StreamConfig  # noqa: E402
from stream.errors import OutputError  # noqa: E402
from stream.evidence_parts import config_sha256  # noqa: E402
from stream.gst.camera import RtspCamera  # noqa: E402
from stream.parts import Parts  # noqa: E402
from stream.scoring.scorer import ModelScorer  # noqa: E402
from stream.types import FaceBox, Frame, StreamName, TrackId, Verdict  # noqa: E402
from tests.fakes import FixedDetector, MemorySink, backbone_of, head_of, spec_of  # noqa: E402

BEFORE_S, AFTER_S = 1.0, 0.6


def two_faces(frame: Frame) -> tuple[FaceBox, ...]:
    width, height = frame.planes.width, frame.planes.height
    left = FaceBox((width * 0.1, height * 0.3, width * 0.4, height * 0.9), 0.99)
    right = FaceBox((width * 0.6, height * 0.3, width * 0.9, height * 0.9), 0.99)
    return left, right


def parts() -> Parts:
    spec = spec_of()
    backbone, head = backbone_of(), head_of(4.0)
    return Parts(LoadedModel(spec, backbone, head), FixedDetector(two_faces), ModelScorer(backbone, head, spec))


def config(root: Path, source: str, **evidence: object) -> AppConfig:
    values = {
        "streams": [StreamConfig(source=source, name="lobby")],
        "display": False,
        "metrics": MetricsConfig(port=0),
        "quality": {"min_sharpness": 0.0, "min_brightness": 0.0},
        "duration_s": PATIENCE_S,
        "evidence": {"folder": root, "before_s": BEFORE_S, "after_s": AFTER_S, **evidence},
    }
    return AppConfig.model_validate(values)


def alert_of(stream: str = "lobby", *, track: int | None = 1) -> Alert:
    return Alert(
        id="1f3a9c07d5e84a0fb6c2",
        rule="fake-held",
        kind=AlertKind.FAKE,
        severity=Severity.CRITICAL,
        state=AlertState.FIRING,
        stream=StreamName(stream),
        track_id=None if track is None else TrackId(track),
        began_at=time.time(),
        changed_at=time.time(),
        fake_probability=0.98,
        message="a face has been called fake for 2 s",
    )


def watched(asked: AppConfig, ready: Callable[[MemorySink, float], bool], alert: Callable[[MemorySink], Alert]) -> str:
    """Watch until ``ready``, take evidence, go on until it lies on disk, stop; the folder's name."""
    stop, sink, names = threading.Event(), MemorySink(), list[str | None]()

    def act(started: Started) -> None:
        began = time.monotonic()
        while not ready(sink, time.monotonic() - began):
            time.sleep(0.05)
        assert started.evidence is not None
        names.append(started.evidence.take(alert(sink)))
        while names[0] and not (Path(asked.evidence.folder or "") / names[0]).exists():
            time.sleep(0.05)
        stop.set()

    def on_started(started: Started) -> None:
        threading.Thread(target=act, args=(started,), daemon=True).start()

    result = watch(asked, parts=parts(), sinks=[sink], stop=stop, on_started=on_started)
    assert result.exit_code == 0
    assert names, "the watch was over before the alert fired"
    assert names[0] is not None
    return names[0]


def is_called_fake(sink: MemorySink, elapsed_s: float) -> bool:
    scenes = list(sink.scenes)
    newest = scenes[-1].faces if scenes else ()
    return elapsed_s > BEFORE_S + 1.2 and any(face.verdict is Verdict.FAKE for face in newest)


def of_the_first_face(sink: MemorySink) -> Alert:
    return alert_of(track=min(face.track_id for face in sink.scenes[-1].faces))


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return found


def frames_of(clip: Path) -> list[float]:
    """Times of all pictures, in seconds."""
    capture, times = cv2.VideoCapture(str(clip)), []
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return times


def test_an_alert_of_a_camera_leaves_a_whole_folder(tmp_path: Path) -> None:
    with RtspCamera(None) as camera:
        asked = config(tmp_path / "kept", camera.url)
        name = watched(asked, is_called_fake, of_the_first_face)
    folder = tmp_path / "kept" / name
    manifest = manifest_of(folder)
    alert, kinds = manifest["alert"], [file["kind"] for file in manifest["files"]]
    assert {"snapshot", "face", "clip", "timeline"} == set(kinds)
    assert kinds.count("face") >= 5
    assert [one["what"] for one in manifest["missing"]] == ["heatmap"]
    assert {file["name"] for file in manifest["files"]} | {"manifest.json"} == {p.name for p in folder.iterdir()}
    for file in manifest["files"]:
        data = (folder / file["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    assert manifest["config_sha256"] == config_sha256(asked)
    assert manifest["model"]["graphs"] == {}
    times = frames_of(folder / "clip.mp4")
    assert manifest["clip"]["began_at"] <= alert["began_at"] - BEFORE_S + 0.1
    assert manifest["clip"]["ended_at"] == pytest.approx(alert["began_at"] + AFTER_S, abs=0.3)
    assert (
        BEFORE_S + AFTER_S - 0.5 < times[-1] < BEFORE_S + AFTER_S + 1.5
    )  # and up to a group of pictures, half a second
    assert len(times) > 20 * times[-1]
    timeline = json.loads((folder / "timeline.json").read_bytes())
    moments = timeline["moments"]
    assert moments[0]["at"] < alert["began_at"] < moments[-1]["at"]
    assert {face["track"] for face in moments[-1]["faces"]} >= {alert["track_id"]}
    assert len(moments[-1]["faces"]) == 2
    assert all(len(face["mask"]) == 20 for face in moments[-1]["faces"])
    assert len(timeline["crops"]) == kinds.count("face")


def test_a_source_without_an_encoder_is_encoded_for_its_clip(tmp_path: Path) -> None:
    name = watched(config(tmp_path, "test"), is_called_fake, of_the_first_face)
    times = frames_of(tmp_path / name / "clip.mp4")
    assert BEFORE_S + AFTER_S - 0.7 < times[-1] < BEFORE_S + AFTER_S + 2
    assert len(times) < 15 * times[-1]


def test_where_others_are_blurred_there_is_no_clip(tmp_path: Path) -> None:
    with RtspCamera(None) as camera:
        name = watched(config(tmp_path, camera.url, blur_others=True), is_called_fake, of_the_first_face)
    manifest = manifest_of(tmp_path / name)
    assert manifest["snapshot"]["blurred_faces"] == 1
    assert [one["why"] for one in manifest["missing"] if one["what"] == "clip"] == [
        "faces that the alert is not about are to be blurred, and encoded video cannot be"
    ]


def test_a_camera_that_was_lost_still_gives_a_clip(tmp_path: Path) -> None:
    camera = RtspCamera(None)

    def lost(sink: MemorySink, elapsed_s: float) -> bool:
        if is_called_fake(sink, elapsed_s):
            camera.close()
        states = [scene.state.value for scene in sink.scenes[-1:]]
        return states == ["reconnecting"]

    name = watched(config(tmp_path, camera.url), lost, lambda _: alert_of(track=None))
    manifest = manifest_of(tmp_path / name)
    assert len(frames_of(tmp_path / name / "clip.mp4")) > 20
    assert "snapshot" in [file["kind"] for file in manifest["files"]]
    assert manifest["clip"]["ended_at"] < manifest["alert"]["began_at"]


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    started: list[Started] = []
    asked = config(tmp_path, "test").model_copy(update={"evidence": AppConfig().evidence, "duration_s": 0.5})
    watch(asked, parts=parts(), on_started=started.append)
    assert started[0].evidence is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"evidence cannot be kept in .*: name another evidence\.folder"):
        watch(config(tmp_path / "file", "test"), parts=parts())
