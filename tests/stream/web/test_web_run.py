"""The page of a whole run: open while it watches, gone when it ends, and in nobody's way."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import httpx
import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from stream.app import Started, watch
from stream.commands.watch import say_where
from stream.errors import OutputError, UsageError
from tests.stream.test_app import config, parts
from tests.stream.web.test_live import events_in

ROOT = Path(__file__).parents[3]


def visited(asked: object, visit: Callable[[httpx.Client, Started], None]) -> None:
    """Run until ``visit`` has returned; what it raises is raised here."""
    stop, failures = threading.Event(), list[BaseException]()

    def go(started: Started) -> None:
        try:
            with httpx.Client(base_url=started.page_url or "", trust_env=False, timeout=30) as client:
                visit(client, started)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            stop.set()

    def begin(started: Started) -> None:
        threading.Thread(target=go, args=(started,), daemon=True, name="visitor").start()

    watch(asked, parts=parts(), stop=stop, on_started=begin)  # type: ignore[arg-type]
    if failures:
        raise failures[0]


def soon(look: Callable[[], object]) -> object:
    deadline = time.monotonic() + 40
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_a_run_with_a_page_can_be_watched_and_changed(tmp_path: Path) -> None:
    seen: dict[str, object] = {}

    def visit(client: httpx.Client, started: Started) -> None:
        seen["url"] = started.page_url
        seen["ready"] = soon(lambda: client.get("/readyz").status_code == 200)
        with client.stream("GET", "/api/v1/events") as response:
            events = events_in(response.iter_lines())
            seen["verdict"] = next(
                face["verdict"]
                for kind, scene in events
                if kind == "scene"
                for face in scene["faces"]  # type: ignore[index]
                if face["verdict"] == "fake"
            )
        headers = {"X-CSRF-Token": client.get("/api/v1/me") and client.cookies["unmask_csrf"]}
        asked = {"source": "rtsp://127.0.0.1:1/none", "name": "gone", "user": "ann", "password": "s3cr3t"}
        seen["added"] = client.post("/api/v1/streams", json=asked, headers=headers).status_code
        seen["lost"] = soon(lambda: client.get("/api/v1/streams").json()[1]["last_error"])
        seen["removed"] = client.delete("/api/v1/streams/gone", headers=headers).status_code
        seen["left"] = [stream["name"] for stream in client.get("/api/v1/streams").json()]
        seen["engines"] = [engine["stage"] for engine in client.get("/api/v1/health").json()["engines"]]

    web = {"enabled": True, "port": 0, "hosts_allowed": ["127.0.0.1"]}
    visited(config(tmp_path, "test", web=web, duration_s=100.0), visit)
    assert "s3cr3t" not in str(seen.pop("lost"))
    url = str(seen.pop("url"))
    assert seen == {
        "ready": True,
        "verdict": "fake",
        "added": 201,
        "removed": 204,
        "left": ["test"],
        "engines": ["detect", "score"],
    }
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    assert not [thread.name for thread in threading.enumerate() if thread.name in ("web", "AnyIO worker thread")]


def test_an_alert_is_told_at_once_and_its_evidence_is_what_was_written(tmp_path: Path) -> None:
    told: list[dict[str, object]] = []
    given: dict[str, str] = {}

    def visit(client: httpx.Client, _: Started) -> None:
        with client.stream("GET", "/api/v1/events") as response:
            alert = next(data for kind, data in events_in(response.iter_lines()) if kind == "alert")
            told.append(alert)  # type: ignore[arg-type]
        path = f"/api/v1/alerts/{told[0]['id']}"
        evidence = soon(lambda: client.get(path).json()["evidence"])
        for file in evidence["files"]:  # type: ignore[index]
            answer = client.get(file["url"])
            assert answer.status_code == 200
            given[file["kind"]] = answer.headers["content-type"]
            assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
        assert evidence["timeline"]["moments"]  # type: ignore[index]

    alerts = {"rules": [{"name": "swapped", "kind": "fake", "for_s": 0.5}]}
    kept = {"folder": tmp_path / "evidence", "before_s": 1, "after_s": 1}
    web = {"enabled": True, "port": 0}
    visited(config(tmp_path, "test", web=web, alerts=alerts, evidence=kept, duration_s=100.0), visit)
    assert (told[0]["rule"], told[0]["stream"], told[0]["state"]) == ("swapped", "test", "firing")
    assert given["snapshot"] == "image/jpeg"
    assert given["timeline"] == "application/json"


def test_a_run_begins_without_a_stream_and_waits_for_one(tmp_path: Path) -> None:
    listed: list[object] = []
    web = {"enabled": True, "port": 0}
    visited(
        config(tmp_path, web=web, duration_s=100.0),
        lambda client, _: listed.append(client.get("/api/v1/streams").json()),
    )
    assert listed == [[]]


def test_a_run_that_ends_does_not_wait_for_who_watches(tmp_path: Path) -> None:
    heard: list[bytes] = []

    def listen(started: Started) -> None:
        def go() -> None:
            with (
                httpx.Client(trust_env=False, timeout=30) as client,
                client.stream("GET", f"{started.page_url}api/v1/events") as response,
            ):
                heard.extend(response.iter_raw())

        threading.Thread(target=go, daemon=True).start()

    began = time.monotonic()
    watch(config(tmp_path, "test", web={"enabled": True, "port": 0}, duration_s=2.0), parts=parts(), on_started=listen)
    assert time.monotonic() - began < 40
    assert heard


def test_a_taken_port_and_bad_users_are_told_before_anything_starts(tmp_path: Path) -> None:
    def again(client: httpx.Client, _: Started) -> None:
        with pytest.raises(OutputError, match="choose another port with --web"):
            watch(config(tmp_path, "test", web={"enabled": True, "port": client.base_url.port}), parts=parts())

    visited(config(tmp_path, "test", web={"enabled": True, "port": 0}, duration_s=100.0), again)
    nobody = config(tmp_path, "test", web={"enabled": True, "port": 0, "users": tmp_path / "none.yaml"})
    with pytest.raises(UsageError, match="cannot read"):
        watch(nobody, parts=parts())


def test_a_run_without_a_page_loads_no_server() -> None:
    looked = "import sys, stream.app, stream.cli; print(sorted({'fastapi', 'uvicorn', 'starlette'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_its_address_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    facts: dict[str, object] = {field.name: None for field in fields(Started)}
    started = Started(**{**facts, "model": "m", "restream_urls": (), "page_url": "http://127.0.0.1:8080/"})  # type: ignore[arg-type]
    say_where(started)
    assert "page http://127.0.0.1:8080/" in capsys.readouterr().err.splitlines()
