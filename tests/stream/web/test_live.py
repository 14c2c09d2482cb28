"""What changes while it is looked at: events, pictures, videos, and how they end."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from stream.config_web import WebConfig
from stream.types import Scene, StreamName
from stream.web.scenes import ALERTS_MOST
from tests.stream.web.conftest import PASSWORD, TOKENS
from tests.stream.web.site import JPEG, Site, alert_of, open_site, scene_of


@contextmanager
def listening(client: httpx.Client) -> Iterator[Iterator[tuple[str, object]]]:
    """(kind, data) of each event."""
    with client.stream("GET", "/api/v1/events") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield events_in(response.iter_lines())


def events_in(lines: Iterator[str]) -> Iterator[tuple[str, object]]:
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        if line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    assert condition()  # type: ignore[operator]


def test_verdicts_are_the_newest_scene_of_each_stream(site: Site) -> None:
    site.services.hub.publish(scene_of(0.2))
    site.services.hub.publish(scene_of(0.91234))
    (told,) = site.client().get("/api/v1/verdicts").json()
    face = {
        "track": 3,
        "box": [1.0, 2.0, 30.0, 40.0],
        "verdict": "fake",
        "fake_probability": 0.9123,
        "reason": None,
        "history": [[1999.0, 0.5], [2000.0, 0.9123]],
    }
    assert told == {
        "stream": "yard",
        "at": 2000.0,
        "state": "playing",
        "frame": [640, 480],
        "faces": [face],
        "fps": 25.0,
        "latency_ms": 12.3,
        "thinned_to": 1,
        "model": "lite0-gru",
        "backend": "scripted",
    }


def test_events_tell_scenes_alerts_and_changes_of_the_list(site: Site) -> None:
    with listening(site.client()) as events:
        site.services.hub.publish(scene_of(0.5))
        kind, scene = next(events)
        assert (kind, "history" in scene["faces"][0], scene["faces"][0]["fake_probability"]) == ("scene", False, 0.5)
        site.web.alerts.alert_changed(alert_of("a7"))
        kind, alert = next(events)
        assert (kind, alert["id"], alert["kind"], alert["state"]) == ("alert", "a7", "fake", "firing")
        site.browser().delete("/api/v1/streams/yard")
        assert next(events) == ("streams", {})


def test_a_list_that_changed_by_another_way_is_told_too(site: Site) -> None:
    with listening(site.client()) as events:
        time.sleep(1.2)
        site.streams.remove("yard")
        assert next(events) == ("streams", {})


def test_a_stream_is_told_of_at_most_five_times_a_second(site: Site) -> None:
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.005):
            site.services.hub.publish(scene_of())

    publisher = threading.Thread(target=publish)
    publisher.start()
    with listening(site.client()) as events:
        began = time.monotonic()
        count = sum(1 for _, _ in zip(range(6), events, strict=False))
    stop.set()
    publisher.join()
    assert time.monotonic() - began >= 0.9 * (count - 1) * 0.2


def test_who_is_alone_hears_a_heartbeat(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.web.routes.live.HEARTBEAT_S", 0.05)
    with site.client().stream("GET", "/api/v1/events") as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ": still here"


def test_a_listener_that_does_not_read_loses_no_one_else_anything(site: Site) -> None:
    """It is let go when more alerts wait for it than it may miss."""
    with socket.create_connection(("127.0.0.1", httpx.URL(site.url).port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: len(site.services.hub._boxes) == 1)
        with listening(site.client()) as events:
            for number in range(ALERTS_MOST * 3):
                site.web.alerts.alert_changed(alert_of(str(number), message="x" * 20_000))
                if number % 50 == 49:
                    time.sleep(0.25)  # the other one reads
                    heard = [next(events)[1]["id"] for _ in range(50)]
            assert heard[-1] == str(ALERTS_MOST * 3 - 1)
            boxes = site.services.hub._boxes
            assert [box.is_lost for box in boxes].count(True) <= 1
            assert sum(len(box.take().alerts) for box in boxes) <= 2 * ALERTS_MOST


def test_a_snapshot_is_the_next_picture(site: Site) -> None:
    answer = site.client().get("/api/v1/streams/yard/snapshot.jpg")
    assert (answer.content, answer.headers["content-type"], answer.headers["cache-control"]) == (
        JPEG,
        "image/jpeg",
        "no-store",
    )
    assert site.client().get("/api/v1/streams/none/snapshot.jpg").status_code == 404
    site.browser().post("/api/v1/streams", json={"source": "rtsp://10.0.0.9/", "name": "dark"})
    assert site.client().get("/api/v1/streams/dark/snapshot.jpg").status_code == 503


def test_a_video_is_picture_after_picture_and_stops_when_nobody_watches(site: Site) -> None:
    client = site.client()
    with client.stream("GET", "/api/v1/streams/yard/video.mjpeg?fps=30") as response:
        assert response.headers["content-type"] == "multipart/x-mixed-replace; boundary=unmask-frame"
        got = b""
        for part in response.iter_raw():
            got += part
            if got.count(JPEG) >= 3:
                break
        assert site.video.watching == 1
    head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(JPEG)
    assert got.startswith(b"--unmask-frame\r\n" + head + JPEG + b"\r\n--unmask-frame\r\n")
    wait_until(lambda: site.video.watching == 0)


@pytest.mark.parametrize("query", ["fps=0", "fps=31", "fps=nan", "fps=inf", "fps=x"])
def test_an_odd_rate_is_refused(site: Site, query: str) -> None:
    assert site.client().get(f"/api/v1/streams/yard/video.mjpeg?{query}").status_code == 422


def test_an_offer_is_answered(site: Site) -> None:
    client = site.browser()
    assert client.post("/api/v1/streams/yard/webrtc", json={"sdp": "v=0"}).json() == {"sdp": "answer to v=0"}
    assert client.post("/api/v1/streams/none/webrtc", json={"sdp": "v=0"}).status_code == 404
    assert client.post("/api/v1/streams/yard/webrtc", json={"sdp": "x" * 40_000}).status_code == 422


def test_webrtc_ends_with_the_login(locked_site: Site) -> None:
    client = locked_site.client()
    client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    client.headers["X-CSRF-Token"] = client.cookies["unmask_csrf"]
    client.post("/api/v1/streams/yard/webrtc", json={"sdp": "v=0"})
    (may_watch,) = locked_site.video.may_watch
    assert may_watch()
    client.post("/api/v1/logout")
    assert not may_watch()


def test_viewers_by_webrtc_are_counted_with_the_others(site: Site) -> None:
    site.video.peers = 2
    with listening(site.client()):
        wait_until(lambda: "unmask_web_clients 3.0" in site.client().get("/metrics").text)
        assert site.client().get("/api/v1/health").json()["clients"] == 3


def test_webrtc_can_be_turned_off() -> None:
    with open_site(WebConfig(enabled=True, port=0, video="mjpeg")) as site:
        client = site.browser()
        assert client.get("/api/v1/streams").json()[0]["video"]["webrtc"] is False
        assert client.post("/api/v1/streams/yard/webrtc", json={"sdp": "v=0"}).status_code == 503


def test_only_so_many_watch_and_whoever_goes_makes_room() -> None:
    with open_site(WebConfig(enabled=True, port=0, clients_most=2)) as site:
        with listening(site.client()), listening(site.client()):
            wait_until(lambda: "unmask_web_clients 2.0" in site.client().get("/metrics").text)
            refused = site.client().get("/api/v1/events")
            assert refused.status_code == 503
            assert "too many are watching" in refused.json()["error"]
            assert site.client().get("/api/v1/streams/yard/video.mjpeg").status_code == 503
            assert site.client().get("/api/v1/streams").status_code == 200
        wait_until(lambda: "unmask_web_clients 0.0" in site.client().get("/metrics").text)
        with listening(site.client()):
            pass


def test_whoever_may_see_no_more_is_sent_away(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.web.endless.LOOK_S", 0.05)
    with open_site(WebConfig(enabled=True, port=0, users=users)) as site:
        client = site.client()
        client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
        with listening(client) as events, listening(site.client(TOKENS["viewer"])) as others:
            site.services.hub.publish(scene_of())
            assert next(events)[0] == "scene"
            client.post("/api/v1/logout", headers={"X-CSRF-Token": client.cookies["unmask_csrf"]})
            assert list(events) == []
            assert next(others)[0] == "scene"


def test_watching_keeps_a_login_alive(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.web.endless.LOOK_S", 0.05)
    with open_site(WebConfig(enabled=True, port=0, users=users, session_idle_s=2.0)) as site:
        client = site.client()
        client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
        with listening(client):
            time.sleep(3)
            assert client.get("/api/v1/streams").status_code == 200


def test_closing_sends_everybody_away_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with open_site() as site:
        heard: list[int] = []

        def watch(path: str) -> None:
            with httpx.Client(base_url=site.url, trust_env=False, timeout=30).stream("GET", path) as response:
                heard.append(sum(1 for _ in response.iter_raw()))

        paths = ["/api/v1/events"] * 3 + ["/api/v1/streams/yard/video.mjpeg"] * 3
        watchers = [threading.Thread(target=watch, args=(path,)) for path in paths]
        for watcher in watchers:
            watcher.start()
        deaf = socket.create_connection(("127.0.0.1", httpx.URL(site.url).port))
        deaf.sendall(b"GET /api/v1/streams/yard/video.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        idle = socket.create_connection(("127.0.0.1", httpx.URL(site.url).port))
        wait_until(lambda: site.video.watching == 4)
        began = time.monotonic()
        site.web.close()
        took = time.monotonic() - began
        for watcher in watchers:
            watcher.join(10)
        deaf.close()
        idle.close()
    assert len(heard) == 6
    assert site.video.watching == 0
    assert took < 9
    wait_until(lambda: not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()])


def test_a_stream_that_is_over_leaves_the_verdicts(site: Site) -> None:
    site.services.hub.publish(scene_of())
    site.services.hub.publish(Scene(StreamName("yard"), is_last=True))
    assert site.client().get("/api/v1/verdicts").json() == []
