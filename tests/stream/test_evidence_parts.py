"""Evidence of a whole watch: a real camera over RTSP, a scripted model, an alert, and what then lies on disk."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.stream.sources.video_parts import PATIENCE_S, need_gst

need_gst()

from engines.catalog import SPEC_FILE, LoadedModel, model_folder, models_here  # noqa: E402
from engines.spec import load_spec  # noqa: E402
from stream.alerts.alert import Alert, AlertKind, AlertState, Severity  # noqa: E402
from stream.app import Started, watch  # noqa: E402
from stream.cli import main  # noqa: E402
from stream.config import AppConfig, MetricsConfig, StreamConfig  # noqa: E402
from stream.errors import OutputError  # noqa: E402
from stream.evidence.folders import kept  # noqa: E402
from stream.evidence.heatmap import TimedCrop, occlusion_map  # noqa: E402
from stream.evidence.verify import verify  # noqa: E402
from stream.evidence_parts import config_sha256, facts_of, own_scorer  # noqa: E402
from stream.gst.camera import RtspCamera  # noqa: E402
from stream.parts import Parts, open_parts  # noqa: E402
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


def key_of(root: Path) -> Path:
    return root.with_name(f"{root.name}-key") / "log.pem"


def config(root: Path, source: str, **evidence: object) -> AppConfig:
    values = {
        "streams": [StreamConfig(source=source, name="lobby")],
        "display": False,
        "metrics": MetricsConfig(port=0),
        "quality": {"min_sharpness": 0.0, "min_brightness": 0.0},
        "duration_s": PATIENCE_S,
        "evidence": {"folder": root, "key": key_of(root), "before_s": BEFORE_S, "after_s": AFTER_S, **evidence},
        "canary": {"enabled": False},
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


def test_a_rule_that_fires_leaves_evidence_of_its_face(tmp_path: Path) -> None:
    root, stop = tmp_path / "kept", threading.Event()

    def await_evidence(_: Started) -> None:
        def look() -> None:
            while not kept(root):
                time.sleep(0.05)
            stop.set()

        threading.Thread(target=look, daemon=True).start()

    with RtspCamera(None) as camera:
        rules = {"rules": [{"name": "fake-face", "kind": "fake", "for_s": 0.4}]}
        asked = AppConfig.model_validate({**config(root, camera.url).model_dump(), "alerts": rules})
        watch(asked, parts=parts(), stop=stop, on_started=await_evidence)
    [found] = kept(root)
    folder = root / found.name
    manifest = manifest_of(folder)
    assert (manifest["alert"]["rule"], manifest["alert"]["stream"]) == ("fake-face", "lobby")
    assert manifest["alert"]["evidence"] == folder.name
    assert {"snapshot", "face", "clip"} <= {file["kind"] for file in manifest["files"]}
    report = verify(root)
    assert (report.is_intact, report.evidence_folders, report.purged) == (True, 1, 0)
    file = tmp_path / "unmask.yaml"
    file.write_text(f"evidence: {{folder: {root}, key: {key_of(root)}}}\n")
    assert main(["purge", "--stream", "lobby", "--config", str(file)]) == 0
    report = verify(root)
    assert (report.is_intact, report.evidence_folders, report.purged) == (True, 0, 1)


def test_of_a_stream_that_was_removed_nothing_is_left_to_keep(tmp_path: Path) -> None:
    stop, names, sink = threading.Event(), list[str | None](), MemorySink()

    def act(started: Started) -> None:
        while not any(scene.faces for scene in list(sink.scenes)):
            time.sleep(0.05)
        started.streams.remove("lobby")
        assert started.evidence is not None
        names.append(started.evidence.take(alert_of()))
        stop.set()

    def on_started(started: Started) -> None:
        threading.Thread(target=act, args=(started,), daemon=True).start()

    watch(config(tmp_path, "test"), parts=parts(), sinks=[sink], stop=stop, on_started=on_started)
    assert [file["kind"] for file in manifest_of(tmp_path / str(names[0]))["files"]] == ["timeline"]


@pytest.mark.parametrize("name", models_here())
def test_every_model_that_is_here_has_heat_maps_of_its_own(name: str) -> None:
    folder = model_folder(name)
    spec = load_spec(folder / SPEC_FILE)
    crop = np.random.default_rng(0).integers(0, 256, (spec.pixels.size, spec.pixels.size, 3)).astype(np.uint8)
    with own_scorer(folder, spec) as scorer:
        heat = occlusion_map(scorer, [TimedCrop(0, crop)])
    assert np.isfinite(heat.drops).all()
    assert np.ptp(heat.drops) > 0


def test_the_manifest_names_the_model_by_the_hashes_of_its_files() -> None:
    asked = AppConfig()
    opened = open_parts(asked)
    folder = model_folder("lite0-gru")
    try:
        model = facts_of(asked, opened, folder, opened.scorer.backend_name)["model"]
    finally:
        opened.close()
    assert model["name"] == "lite0-gru"
    assert model["spec_sha256"] == hashlib.sha256((folder / SPEC_FILE).read_bytes()).hexdigest()
    for file, digest in model["graphs"].items():
        assert digest == hashlib.sha256((folder / file).read_bytes()).hexdigest()


def test_a_configurations_hash_changes_with_it_and_knows_no_secrets() -> None:
    def digest(source: str, **changes: object) -> str:
        return config_sha256(AppConfig.model_validate({"streams": [{"source": source}], **changes}))

    assert digest("rtsp://u:one@cam/a") == digest("rtsp://u:two@cam/a")
    assert digest("rtsp://cam/a") != digest("rtsp://cam/b")
    assert digest("test") != digest("test", evidence={"keep_days": 7})


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    started: list[Started] = []
    asked = config(tmp_path, "test").model_copy(update={"evidence": AppConfig().evidence, "duration_s": 0.5})
    watch(asked, parts=parts(), on_started=started.append)
    assert started[0].evidence is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "file"))):
        watch(config(tmp_path / "file", "test"), parts=parts())
