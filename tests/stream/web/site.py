"""A page that really listens, on loopback, over streams and video that are made up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx

from stream.alerts.alert import Alert, AlertKind, AlertState, Severity
from stream.config import AppConfig, StreamConfig
from stream.config_web import WebConfig
from stream.errors import TooManyStreamsError, UsageError
from stream.live_streams import LiveStreams, StreamStatus, address_of
from stream.metrics import Metrics
from stream.types import FaceScore, Scene, StreamName, StreamState, TrackId, Verdict
from stream.web.open import OpenWeb, open_web
from stream.web.ports import Readiness
from stream.web.scenes import SceneHub
from stream.web.services import EngineFacts, WebServices
from stream.web.users import User, write_users

JPEG = b"\xff\xd8 a picture \xff\xd9"


class FakeStreams:
    """As strict as the real ones about requests; opens nothing."""

    def __init__(self, config: AppConfig) -> None:
        self.config = config

    def list(self) -> tuple[StreamStatus, ...]:
        return tuple(self._status(stream) for stream in self.config.streams)

    def described(self, name: str) -> StreamConfig | None:
        return next((stream for stream in self.config.streams if stream.name == name), None)

    def add(self, stream: StreamConfig, most: int) -> StreamStatus:
        if len(self.config.streams) >= most:
            raise TooManyStreamsError("no more may be watched: remove one")
        return self._meet([*self.config.streams, stream])[-1]

    def change(self, stream: StreamConfig) -> StreamStatus:
        streams = [stream if known.name == stream.name else known for known in self.config.streams]
        return next(status for status in self._meet(streams) if status.name == stream.name)

    def remove(self, name: str) -> None:
        if self.described(name) is None:
            raise UsageError(f"no stream is named {name}")
        self._meet([stream for stream in self.config.streams if stream.name != name])

    def _meet(self, streams: list[StreamConfig]) -> tuple[StreamStatus, ...]:
        config = self.config.with_streams(streams)
        for stream in config.streams:
            address_of(stream)
        self.config = config
        return self.list()

    def _status(self, stream: StreamConfig) -> StreamStatus:
        source = address_of(stream).redacted()
        return StreamStatus(StreamName(stream.name), source, StreamState.PLAYING, None, 25.0, "avdec_h264", None, None)


class FakeVideo:
    """The same picture for ever, at once."""

    has_webrtc = True
    peers = 0

    def __init__(self) -> None:
        self.watching = 0
        self.may_watch: list[Callable[[], bool]] = []

    def snapshot(self, stream: StreamName, timeout_s: float) -> bytes | None:  # noqa: ARG002 - the protocol's signature
        return JPEG if stream == "yard" else None

    def jpegs(self, stream: StreamName, fps: float) -> AbstractContextManager[Iterator[bytes | None]]:
        return self._jpegs(stream, fps)

    @contextmanager
    def _jpegs(self, stream: StreamName, fps: float) -> Iterator[Iterator[bytes | None]]:
        assert stream == "yard"
        self.watching += 1
        tick = threading.Event()
        try:
            yield (None if tick.wait(1 / fps) else JPEG for _ in iter(int, 1))
        finally:
            self.watching -= 1

    def answer(self, stream: StreamName, offer_sdp: str, timeout_s: float, may_watch: Callable[[], bool]) -> str:
        assert (stream, timeout_s > 0) == ("yard", True)
        self.may_watch.append(may_watch)
        return f"answer to {offer_sdp}"

    def close(self) -> None: ...


def scene_of(probability: float | None = 0.9, *, stream: str = "yard", pts_s: float = 40.0) -> Scene:
    history = () if probability is None else ((round((pts_s - 1) * 1e9), 0.5), (round(pts_s * 1e9), probability))
    face = FaceScore(TrackId(3), (1.0, 2.0, 30.0, 40.0), Verdict.FAKE, probability, history=history)
    return Scene(
        StreamName(stream),
        (face,),
        round(pts_s * 1e9),
        fps=25.0,
        latency_ms=12.34,
        model="lite0-gru",
        backend="scripted",
        state=StreamState.PLAYING,
        frame_wh=(640, 480),
    )


def alert_of(alert_id: str = "a1", **changes: Any) -> Alert:
    values = {
        "id": alert_id,
        "rule": "fakes",
        "kind": AlertKind.FAKE,
        "severity": Severity.CRITICAL,
        "state": AlertState.FIRING,
        "stream": StreamName("yard"),
        "track_id": TrackId(3),
        "began_at": 1000.0,
        "changed_at": 1000.0,
        "fake_probability": 0.93,
        "message": "face 3 of yard has been fake for 5 s",
    }
    return Alert(**{**values, **changes})


@dataclass
class Site:
    """An open page and what lies behind it."""

    web: OpenWeb
    streams: FakeStreams
    services: WebServices
    video: FakeVideo
    verify: Any = True
    opened: list[httpx.Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        scheme, _, place = self.web.url.rstrip("/").partition("://")
        return f"{scheme}://127.0.0.1:{place.rpartition(':')[2]}"

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        client = httpx.Client(base_url=self.url, headers=headers, verify=self.verify, trust_env=False, timeout=20)
        self.opened.append(client)
        return client

    def browser(self) -> httpx.Client:
        """With a session's cookies, and the token against forged requests in its header."""
        client = self.client()
        client.get("/api/v1/me")
        client.headers["X-CSRF-Token"] = client.cookies["unmask_csrf"]
        return client


@contextmanager
def open_site(
    config: WebConfig | None = None, *, app: AppConfig | None = None, evidence: Path | None = None, verify: Any = True
) -> Iterator[Site]:
    """``app``: whose streams are watched; one named yard, unless said otherwise."""
    streams = FakeStreams(app or AppConfig(streams=(StreamConfig(name="yard", source="rtsp://ann:s3cr3t@10.0.0.7/a"),)))
    video, readiness = FakeVideo(), Readiness()
    readiness.set("streams", is_met=True, why="1 known")
    services = WebServices(
        cast(LiveStreams, streams),
        SceneHub(wall_clock=lambda: 2000.0),
        Metrics(),
        readiness,
        engines=lambda: (EngineFacts("score", "lite0-gru", "scripted", "fp32", "the only one", False),),
        video=video,
        evidence=evidence,
    )
    web = open_web(config or WebConfig(enabled=True, port=0), services)
    site = Site(web, streams, services, video, verify)
    try:
        web.start()
        yield site
    finally:
        for client in site.opened:
            client.close()
        web.close()


def users_file(path: Path, *users: User) -> Path:
    write_users(path, users)
    return path
