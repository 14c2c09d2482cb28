"""Alerts of a whole watch, at a real webhook: a real camera that dies, a fake face, and a watch that is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stream.alerts.receivers import WebReceiver, wait_until
from tests.stream.sources.video_parts import need_gst

need_gst()

from bench.faulty_camera import FaultyCamera, picture  # noqa: E402
from stream.alerts.senders.webhook import signature_of  # noqa: E402
from tests.stream.faults.rig import CAMERA, camera_at, watching  # noqa: E402
from tests.stream.test_watch_process import QUIET, Unmask  # noqa: E402

pytestmark = pytest.mark.timeout(300)
DOWN = {"name": "down", "kind": "stream_down", "for_s": 1, "resolve_after_s": 0.5, "severity": "critical"}
FAKE = {"name": "swapped", "kind": "fake", "for_s": 1, "resolve_after_s": 0.5, "cool_down_s": 3600}


@pytest.fixture
def receiver() -> Iterator[WebReceiver]:
    with WebReceiver() as receiver:
        yield receiver


def alerts_to(receiver: WebReceiver, folder: Path, *rules: dict[str, Any]) -> dict[str, Any]:
    sink = {"kind": "webhook", "url": receiver.url, "secret_env": "WEBHOOK_SECRET"}
    return {"rules": list(rules), "to": [sink], "spool": str(folder / "spool")}


def told(receiver: WebReceiver, rule: str) -> list[str]:
    return [post.json["state"] for post in receiver.posts if post.json["rule"] == rule]


def test_a_camera_that_dies_and_a_fake_face_fire_and_resolve(
    receiver: WebReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "correct horse")
    alerts = alerts_to(receiver, tmp_path, DOWN, FAKE)
    with FaultyCamera(picture("black")) as camera, watching(camera_at(camera.url), alerts=alerts) as run:
        wait_until(lambda: told(receiver, "swapped") == ["firing"], "the fake face")
        assert run.metric("unmask_alerts_firing", stream=CAMERA, rule_kind="fake") == 1
        camera.kill()
        wait_until(lambda: told(receiver, "down") == ["firing"], "the dead camera")
        wait_until(lambda: told(receiver, "swapped") == ["firing", "resolved"], "the end of the face")
        assert run.metric("unmask_alerts_firing", stream=CAMERA, rule_kind="stream_down") == 1
        camera.start_again(picture("white"))
        wait_until(lambda: told(receiver, "down") == ["firing", "resolved"], "the camera's return")
        assert run.metric("unmask_alerts_total", stream=CAMERA, rule_kind="stream_down") == 1
        assert run.metric("unmask_alert_deliveries_total", sink="webhook", outcome="delivered") == 4
        assert run.metric("unmask_alert_spool_messages", sink="webhook") == 0
    assert len(receiver.posts) == len(set(receiver.keys)) == 4
    for post in receiver.posts:
        signed = signature_of(b"correct horse", post.headers["X-Unmask-Timestamp"], post.body)
        assert post.headers["X-Unmask-Signature"] == signed


def test_a_watch_that_ends_resolves_what_fires_and_says_so(
    receiver: WebReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "x")
    alerts = alerts_to(receiver, tmp_path, FAKE)
    with FaultyCamera(picture("black")) as camera, watching(camera_at(camera.url), alerts=alerts):
        wait_until(lambda: told(receiver, "swapped") == ["firing"], "the fake face")
    assert told(receiver, "swapped") == ["firing", "resolved"]
    assert "was still so when the watch ended" in receiver.posts[1].json["message"]


LINE = "alert firing (critical, down): door has not played for 1 s (reconnecting)"


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
            camera.kill()
            first.wait_for(lambda: told(receiver, "down") == ["firing"], "alert")
            first.wait_for(
                lambda: (
                    "alert firing (critical, down): door has not played for 1 s (reconnecting)" in first.complained()
                ),
                "line in the log",
            )
            first.end(signal.SIGKILL)
        camera.start_again(picture("white"))
        with Unmask(tmp_path / "second", "watch", "--config", file, *QUIET) as second:
            second.wait_for(lambda: told(receiver, "down") == ["firing", "resolved"], "end of the alert")
            assert second.end(signal.SIGTERM) == 0
    first_id, last_id = (post.json["id"] for post in receiver.posts)
    assert first_id == last_id
    assert "was ended by force" in receiver.posts[1].json["message"]
    assert "s3cret" not in "".join([*first.complained(), *second.complained()])
