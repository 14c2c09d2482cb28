"""Alerts of a whole watch, at a real webhook: a real camera that dies, a fake face, and a watch that is killed."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stream.alerts.receivers import WebReceiver, free_port, wait_until
from tests.stream.sources.video_parts import need_gst

need_gst()

from bench.faulty_camera import FaultyCamera, picture  # noqa: E402
from stream.alerts.senders.webhook import signature_of  # noqa: E402
from stream.config import StreamConfig  # noqa: E402
from stream.evidence.verify import verify  # noqa: E402
from tests.stream.faults.rig import CAMERA, beside, camera_at, watching  # noqa: E402
from tests.stream.test_watch_process import QUIET, Unmask  # noqa: E402

pytestmark = pytest.mark.timeout(300)
DOWN = {"name": "down", "kind": "stream_down", "for_s": 1, "resolve_after_s": 0.5, "severity": "critical"}
DOWN |= {"cool_down_s": 0}
FAKE = {"name": "swapped", "kind": "fake", "for_s": 1, "resolve_after_s": 0.5, "cool_down_s": 3600}


@pytest.fixture
def receiver() -> Iterator[WebReceiver]:
    with WebReceiver() as receiver:
        yield receiver


def alerts_to(receiver: WebReceiver, folder: Path, *rules: dict[str, Any]) -> dict[str, Any]:
    sink = {"kind": "webhook", "url": receiver.url, "secret_env": "WEBHOOK_SECRET"}
    return {"rules": list(rules), "to": [sink], "spool": str(folder / "spool")}


def ids(receiver: WebReceiver, rule: str, state: str) -> list[str]:
    """Of alerts that were told so, each once; a slow start may be an alert of its own."""
    said = (post.json for post in receiver.posts)
    return list(dict.fromkeys(one["id"] for one in said if (one["rule"], one["state"]) == (rule, state)))


def check_all_resolved(receiver: WebReceiver) -> None:
    """Each fired once, then resolved once."""
    assert len(receiver.keys) == len(set(receiver.keys))
    for post in receiver.posts:
        first, last = (receiver.keys.index(f"{post.json['id']}-{state}") for state in ("firing", "resolved"))
        assert first < last


def test_a_camera_that_dies_and_a_fake_face_fire_and_resolve(
    receiver: WebReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "correct horse")
    alerts = alerts_to(receiver, tmp_path, DOWN, FAKE)
    with FaultyCamera(picture("black")) as camera, watching(camera_at(camera.url), alerts=alerts) as run:
        wait_until(lambda: ids(receiver, "swapped", "firing"), "the fake face")
        wait_until(lambda: run.metric("unmask_alerts_total", stream=CAMERA, rule_kind="fake") == 1, "its count")
        before = ids(receiver, "down", "firing")
        camera.kill()
        wait_until(lambda: len(ids(receiver, "down", "firing")) > len(before), "the dead camera")
        wait_until(lambda: ids(receiver, "swapped", "resolved"), "the end of the face")
        wait_until(lambda: run.metric("unmask_alerts_firing", stream=CAMERA, rule_kind="stream_down") == 1, "it firing")
        camera.start_again(picture("white"))
        wait_until(lambda: len(ids(receiver, "down", "resolved")) > len(before), "the camera's return")
        wait_until(lambda: not run.metric("unmask_alert_spool_messages", sink="webhook"), "an empty spool")
        delivered = {"sink": "webhook", "outcome": "delivered"}
        wait_until(
            lambda: run.metric("unmask_alert_deliveries_total", **delivered) == len(receiver.posts), "all counted"
        )
    check_all_resolved(receiver)
    for post in receiver.posts:
        signed = signature_of(b"correct horse", post.headers["X-Unmask-Timestamp"], post.body)
        assert post.headers["X-Unmask-Signature"] == signed


def test_an_alert_names_its_evidence_and_both_are_in_the_log(
    receiver: WebReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "x")
    folder = tmp_path / "evidence"
    evidence = {"folder": folder, "key": tmp_path / "log.pem", "after_s": 0, "heatmap": False}
    alerts = alerts_to(receiver, tmp_path, FAKE)
    with FaultyCamera(picture("black")) as camera, watching(camera_at(camera.url), alerts=alerts, evidence=evidence):
        wait_until(lambda: ids(receiver, "swapped", "firing"), "the fake face")
    check_all_resolved(receiver)
    (kept,) = {post.json["evidence"] for post in receiver.posts}
    assert (folder / kept).is_dir()
    assert verify(folder).is_intact
    log = "".join(path.read_text() for path in folder.rglob("log-*.jsonl"))
    assert [kind for kind in ("alert_firing", "alert_resolved") if kind not in log] == []


def test_a_watch_that_ends_resolves_what_fires_and_says_so(
    receiver: WebReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "x")
    alerts = alerts_to(receiver, tmp_path, FAKE)
    with FaultyCamera(picture("black")) as camera, watching(camera_at(camera.url), alerts=alerts):
        wait_until(lambda: ids(receiver, "swapped", "firing"), "the fake face")
    check_all_resolved(receiver)
    assert "still so when the watch ended" in receiver.posts[-1].json["message"]


def test_a_stream_that_comes_is_judged_and_one_that_goes_resolves(
    receiver: WebReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "x")
    with watching(beside(), alerts=alerts_to(receiver, tmp_path, DOWN)) as run:
        assert run.started is not None
        run.started.streams.add(StreamConfig(name="yard", source=f"rtsp://127.0.0.1:{free_port()}/none"))
        wait_until(lambda: receiver.posts, "the alert")
        run.started.streams.remove("yard")
        wait_until(lambda: ids(receiver, "down", "resolved"), "its end")
    check_all_resolved(receiver)
    assert {post.json["stream"] for post in receiver.posts} == {"yard"}
    assert receiver.posts[1].json["message"].startswith("no longer watched, after ")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("alerts")]


def test_a_watch_that_is_killed_is_spoken_for_by_the_next_one(
    receiver: WebReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "s3cret")
    file = tmp_path / "unmask.yaml"
    with FaultyCamera(picture("black")) as camera:
        streams = [{"name": "door", "source": camera.url}]
        alerts = alerts_to(receiver, tmp_path, DOWN)
        file.write_text(json.dumps({"streams": streams, "alerts": alerts, "retry": {"longest_s": 1}}))
        with Unmask(tmp_path / "first", "watch", "--config", file, *QUIET) as first:
            first.wait_for(lambda: any(line.startswith("door: no face") for line in first.told()), "picture")
            before = ids(receiver, "down", "firing")
            camera.kill()
            first.wait_for(lambda: len(ids(receiver, "down", "firing")) > len(before), "alert")
            first.end(signal.SIGKILL)
        killed = ids(receiver, "down", "firing")[-1]
        camera.start_again(picture("white"))
        with Unmask(tmp_path / "second", "watch", "--config", file, *QUIET) as second:
            second.wait_for(lambda: killed in ids(receiver, "down", "resolved"), "end of the alert")
            assert second.end(signal.SIGTERM) == 0
    (end,) = (post.json for post in receiver.posts if post.json["id"] == killed and post.json["state"] == "resolved")
    assert end["message"].startswith("the run that saw it was ended by force: ")
    assert "alert firing (critical, down): door has not played for 1 s (reconnecting)" in first.complained()
    assert "s3cret" not in "".join([*first.complained(), *second.complained()])
