"""Streams over the API: what may be asked for, and that no secret ever comes back or goes astray."""

from __future__ import annotations

import logging

import pytest

from stream.config import AppConfig, StreamConfig, StreamDefaults
from stream.config_web import WebConfig
from stream.live_streams import address_of
from tests.stream.web.site import Site, open_site, scene_of

CAMERA = "rtsp://10.0.0.8/b"


def test_streams_are_listed_without_secrets(site: Site) -> None:
    site.services.hub.publish(scene_of())
    (yard,) = site.client().get("/api/v1/streams").json()
    assert yard == {
        "name": "yard",
        "source": "rtsp://***@10.0.0.7/a",
        "state": "playing",
        "last_error": None,
        "fps": 25.0,
        "latency_ms": 12.3,
        "decoder": "avdec_h264",
        "encoder": None,
        "url": None,
        "model": "lite0-gru",
        "backend": "scripted",
        "priority": "normal",
        "sample_every": 1,
        "transport": "tcp",
        "video": {"mjpeg": "/api/v1/streams/yard/video.mjpeg", "webrtc": True},
    }


def test_a_stream_is_added_changed_and_removed(site: Site) -> None:
    client = site.browser()
    answer = client.post("/api/v1/streams", json={"source": CAMERA, "name": "gate", "priority": "high"})
    assert (answer.status_code, answer.json()["name"], answer.json()["priority"]) == (201, "gate", "high")
    answer = client.patch("/api/v1/streams/gate", json={"sample_every": 2, "transport": "udp"})
    assert (answer.status_code, answer.json()["sample_every"], answer.json()["priority"]) == (200, 2, "high")
    assert [stream["name"] for stream in client.get("/api/v1/streams").json()] == ["yard", "gate"]
    assert client.delete("/api/v1/streams/gate").status_code == 204
    assert [stream["name"] for stream in client.get("/api/v1/streams").json()] == ["yard"]


def test_a_stream_without_a_name_gets_one(site: Site) -> None:
    assert site.browser().post("/api/v1/streams", json={"source": CAMERA}).json()["name"] == "rtsp"


def test_a_password_reaches_the_camera_and_nobody_else(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    client = site.browser()
    with caplog.at_level(logging.DEBUG):
        asked = {"source": CAMERA, "name": "gate", "user": "ann", "password": "s3cr3t/${HOME}@x"}
        told = [client.post("/api/v1/streams", json=asked)]
        told += [client.get(path) for path in ("/api/v1/streams", "/metrics", "/api/v1/openapi.json", "/api/v1/health")]
        told.append(client.patch("/api/v1/streams/gate", json={"priority": "low"}))
        told.append(client.post("/api/v1/streams", json={**asked, "bad": 1}))
        told.append(client.post("/api/v1/streams", json={**asked, "password": ["s3cr3t"]}))
        for source in ("rtsp://ann:s3cr3t@127.0.0.1/", "rtsp//ann:s3cr3t@127.0.0.1/"):
            told.append(client.post("/api/v1/streams", json={**asked, "name": "other", "source": source}))
    uri = address_of(site.streams.config.streams[-1])
    assert (uri.user, uri.password, uri.location) == ("ann", "s3cr3t/${HOME}@x", CAMERA)
    assert [answer.status_code for answer in told] == [201, 200, 200, 200, 200, 200, 422, 422, 422, 422]
    texts = [answer.text + str(answer.headers) for answer in told] + [caplog.text, repr(site.streams.config)]
    texts += [site.streams.config.model_dump_json(), repr(site.services), repr(site.streams.list())]
    assert not any("s3cr3t" in text for text in texts)


def test_who_changed_a_stream_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.browser().delete("/api/v1/streams/yard")
    assert "stream yard was removed over the web by somebody on this machine" in caplog.text


@pytest.mark.parametrize(
    ("asked", "status", "line"),
    [
        ({"source": CAMERA, "name": "yard"}, 409, "a stream is named yard already"),
        ({"source": CAMERA, "name": "../etc"}, 422, "name"),
        ({"source": CAMERA, "name": ""}, 422, "name"),
        ({"source": CAMERA, "sample_every": 0}, 422, "sample_every"),
        ({"source": CAMERA, "transport": "smoke"}, 422, "transport"),
        ({"source": CAMERA, "save": "/tmp/x.mp4"}, 422, "save: Extra inputs are not permitted"),
        ({"source": CAMERA, "password_file": "/etc/shadow"}, 422, "password_file: Extra inputs"),
        ({"source": CAMERA, "user_env": "HOME"}, 422, "user_env: Extra inputs"),
        ({}, 422, "source: Field required"),
        ({"source": 3}, 422, "source"),
        ({"source": "rtsp://10.0.0.1/" + "a" * 3000}, 422, "source"),
        ({"source": "screen"}, 422, "only rtsp://, rtsps:// can be watched from here"),
        ({"source": "webcam"}, 422, "only rtsp://, rtsps://"),
        ({"source": "/etc/passwd"}, 422, "only rtsp://, rtsps://"),
        ({"source": "file:///etc/passwd"}, 422, "only rtsp://, rtsps://"),
        ({"source": "http://10.0.0.1/a.mp4"}, 422, "only rtsp://, rtsps://"),
        ({"source": "rtsp://${HOME}/a"}, 422, "variables are filled in in configuration files only"),
        ({"source": "rtsp://127.0.0.1:9108/"}, 422, "127.0.0.1 is this machine itself"),
        ({"source": "rtsp://169.254.169.254/"}, 422, "link-local or metadata"),
        ([], 422, "dict"),
        ("rtsp://10.0.0.1/", 422, "dict"),
    ],
)
def test_a_bad_request_is_one_line_and_changes_nothing(site: Site, asked: object, status: int, line: str) -> None:
    client = site.browser()
    answer = client.post("/api/v1/streams", json=asked)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert line in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert len(site.streams.config.streams) == 1


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["none", "..", "%2e%2e", "yard%2f..", "a" * 41])
def test_a_stream_that_is_not_there_is_not_found(site: Site, method: str, name: str) -> None:
    assert site.browser().request(method, f"/api/v1/streams/{name}", json={}).status_code in (404, 405, 422)
    assert len(site.streams.config.streams) == 1


def test_a_stream_keeps_its_name(site: Site) -> None:
    assert site.browser().patch("/api/v1/streams/yard", json={"name": "gate"}).status_code == 422
    assert site.browser().patch("/api/v1/streams/yard", json={"name": "yard"}).status_code == 200


def test_only_so_many_are_watched() -> None:
    with open_site(WebConfig(enabled=True, port=0, streams_most=2)) as site:
        client = site.browser()
        statuses = [client.post("/api/v1/streams", json={"source": f"rtsp://10.0.0.{n}/"}) for n in (1, 2)]
        assert [answer.status_code for answer in statuses] == [201, 409]


def credentials_at(site: Site, name: str) -> tuple[str | None, str | None]:
    stream = site.streams.described(name)
    assert stream is not None
    uri = address_of(stream)
    return uri.user, uri.password


@pytest.fixture
def secret_site(monkeypatch: pytest.MonkeyPatch) -> object:
    """All its streams share a password that only the configuration may give away."""
    monkeypatch.setenv("CAMERA_PASSWORD", "shared-secret")
    defaults = StreamDefaults(user="viewer", password_env="CAMERA_PASSWORD")
    return AppConfig(streams=(StreamConfig(name="yard", source="rtsp://10.0.0.7/a"),), defaults=defaults)


def test_the_shared_password_is_sent_to_no_host_that_was_asked_for(secret_site: AppConfig) -> None:
    app = secret_site.with_streams([StreamConfig(name="yard", source="rtsp://10.0.0.7/a")])
    with open_site(app=app) as site:
        assert credentials_at(site, "yard") == ("viewer", "shared-secret")
        client = site.browser()
        client.post("/api/v1/streams", json={"source": "rtsp://10.66.6.6/", "name": "evil"})
        client.post("/api/v1/streams", json={"source": "rtsp://10.66.6.6/", "name": "evil2", "user": "x"})
        assert credentials_at(site, "evil") == (None, None)
        assert credentials_at(site, "evil2") == ("x", "")


@pytest.mark.parametrize("source", ["rtsp://10.66.6.6/a", "rtsp://10.0.0.7:5554/a", "rtsps://10.0.0.7/a"])
def test_a_changed_address_leaves_the_old_password_behind(secret_site: AppConfig, source: str) -> None:
    with open_site(app=secret_site) as site:
        assert site.browser().patch("/api/v1/streams/yard", json={"source": source}).status_code == 200
        assert credentials_at(site, "yard") == (None, None)


def test_a_changed_path_keeps_it(secret_site: AppConfig) -> None:
    with open_site(app=secret_site) as site:
        site.browser().patch("/api/v1/streams/yard", json={"source": "rtsp://10.0.0.7/other", "priority": "high"})
        assert credentials_at(site, "yard") == ("viewer", "shared-secret")
        site.browser().patch("/api/v1/streams/yard", json={"user": "ann", "password": "mine"})
        assert credentials_at(site, "yard") == ("ann", "mine")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": "new"}, ("ann", "new")),
        ({"user": "bob"}, ("bob", "s3cr3t@")),
        ({"source": "rtsp://10.0.0.8/other"}, ("ann", "s3cr3t@")),
        ({"source": "rtsp://10.0.0.8/other", "password": "new"}, ("ann", "new")),
        ({"source": "rtsp://eve:mine@10.0.0.8/other"}, ("eve", "mine")),
        ({"source": "rtsp://10.0.0.9/b"}, (None, None)),
    ],
)
def test_the_half_of_a_login_that_is_not_given_stays(
    site: Site, change: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    client = site.browser()
    client.post("/api/v1/streams", json={"source": CAMERA, "name": "gate", "user": "ann", "password": "s3cr3t@"})
    assert client.patch("/api/v1/streams/gate", json=change).status_code == 200
    assert credentials_at(site, "gate") == expected


@pytest.mark.parametrize(
    ("change", "expected"), [({"user": "ann"}, ("ann", "shared-secret")), ({"password": "mine"}, ("viewer", "mine"))]
)
def test_a_shared_login_is_changed_by_halves(
    secret_site: AppConfig, change: dict[str, str], expected: tuple[str, str]
) -> None:
    with open_site(app=secret_site) as site:
        assert site.browser().patch("/api/v1/streams/yard", json=change).status_code == 200
        assert credentials_at(site, "yard") == expected


def test_a_source_of_the_configuration_may_be_changed_in_all_but_its_address() -> None:
    app = AppConfig(streams=(StreamConfig(name="pattern", source="test"),))
    with open_site(app=app) as site:
        client = site.browser()
        assert client.patch("/api/v1/streams/pattern", json={"priority": "low"}).json()["source"] == "test:ball"
        assert "takes no user" in client.patch("/api/v1/streams/pattern", json={"user": "ann"}).json()["error"]
        assert client.patch("/api/v1/streams/pattern", json={"source": "test:snow"}).status_code == 422
