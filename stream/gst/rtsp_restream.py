"""Serving already encoded H.264 over RTSP: encoded once, sent to any number of clients.

Streams of one process share a server per address; each has its own path. Who opens it first says who may watch.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

from stream.errors import OutputError  # noqa: E402
from stream.gst.mainloop import LoopThread  # noqa: E402
from stream.gst.rtsp_clients import keep_swept, shut, tune  # noqa: E402

Gst.init(None)

MEDIA = (
    "( appsrc name=feed is-live=true do-timestamp=true format=time block=false max-bytes=0 max-buffers=0 "
    "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
MAX_WAITING = 10
"""Buffers a media may hold before it is skipped to the next key frame: nobody is playing it, or it hangs."""
ABOUT_TO_PLAY_S = 5.0
"""How long a client may take from its wish to its first picture: a media needs pictures before it is played."""
ASK_EVERY_S = 0.5
"""How soon it is noticed that the last client has gone."""
WATCHER = "watcher"
"""The one role there is: of who showed the password, or of everybody where there is none."""


@dataclass(frozen=True)
class RestreamGuard:
    """Who may watch, and whether others can read along. Its texts show no secret."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    """With ``user``, asked for by RTSP's digest; None lets everybody watch."""
    certificate: Path | None = None
    """PEM, with ``key``: TLS, and pictures only inside of it."""
    key: Path | None = None

    def check(self) -> None:
        """Raises OutputError when certificate and key cannot be used."""
        self.tls()

    def tls(self) -> Any:
        """A Gio.TlsCertificate with its key; None without TLS. Raises OutputError."""
        if self.certificate is None or self.key is None:
            return None
        try:
            return Gio.TlsCertificate.new_from_files(str(self.certificate), str(self.key))
        except GLib.Error as error:
            raise OutputError(
                f"restream.tls: {self.certificate} and {self.key} cannot be used ({error.message}): give a PEM "
                "certificate and its key without a passphrase (apt install glib-networking brings TLS itself)"
            ) from None


EVERYBODY = RestreamGuard()


@dataclass
class _Feed:
    """The way into one running media."""

    media: Any
    source: Any
    has_key_frame: bool = False
    is_held: bool = False
    handlers: list[int] = field(default_factory=list)
    """Of the media; they hold this feed, which holds the media: until they go, neither is freed."""

    @property
    def is_full(self) -> bool:
        return bool(self.source.get_property("current-level-buffers") > MAX_WAITING)

    @property
    def is_played(self) -> bool:
        """Whether a client plays it: one that has hung up is gone from it at once, while the media goes on."""
        stream = self.media.get_stream(0)
        return stream is not None and bool(stream.transport_filter(None))


class RtspRestream:
    """One path on an RTSP server. ``push`` may be called from any one thread and never blocks."""

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        *,
        guard: RestreamGuard = EVERYBODY,
        on_client: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_client``: a client wants to play; send a key frame soon.

        Raises OutputError when the port is taken or the certificate is no good.
        """
        self._path = path
        self._on_client = on_client
        self._lock = threading.Lock()
        self._feeds: list[_Feed] = []
        self._caps: Any = None
        self._wished_s = self._asked_s = -math.inf
        self._is_played = False
        self._server = _SharedServer.borrow(host, port, guard)
        self._server.mount(path, self._factory(), self._wish)

    @property
    def url(self) -> str:
        """Without the password."""
        return f"{'rtsps' if self._server.has_tls else 'rtsp'}://{self._server.host}:{self._server.port}{self._path}"

    @property
    def is_watched(self) -> bool:
        """Whether an access unit that came now would reach a client, or one that is about to play. Asked often."""
        now_s = time.monotonic()
        if now_s - self._wished_s < ABOUT_TO_PLAY_S:
            return True
        if now_s - self._asked_s >= ASK_EVERY_S:
            self._asked_s, self._is_played = now_s, any(feed.is_played for feed in self._open_feeds())
        return self._is_played

    def push(self, buffer: Any, caps: Any) -> None:
        """One access unit of H.264 for everybody who watches."""
        self._caps = caps
        is_key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        for feed in self._open_feeds():
            _feed_one(feed, buffer, caps, is_key)

    def _open_feeds(self) -> tuple[_Feed, ...]:
        with self._lock:
            return tuple(self._feeds)

    def close(self) -> None:
        """Say goodbye to the clients; the last path of a server stops it."""
        with self._lock:
            feeds, self._feeds = tuple(self._feeds), []
        for feed in feeds:
            feed.media.unprepare()
            self._forget(feed)
        self._server.give_back(self._path)

    def _factory(self) -> Any:
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(MEDIA)
        factory.set_shared(True)
        factory.set_latency(0)
        factory.set_permissions(_for_watchers())
        if self._server.has_tls:  # pictures over UDP would leave it
            factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
        factory.connect("media-configure", self._on_media)
        return factory

    def _on_media(self, _factory: Any, media: Any) -> None:
        """A first client came: its media is fed from the next key frame on."""
        source = media.get_element().get_by_name("feed")
        if self._caps is not None:
            source.set_property("caps", self._caps)
        feed = _Feed(media, source)
        feed.handlers += [
            media.connect("prepared", _keep_prepared, feed),
            media.connect("unprepared", lambda _media: self._forget(feed)),
        ]
        with self._lock:
            self._feeds.append(feed)
        self._wish()

    def _wish(self) -> None:
        """A client wants to play."""
        self._wished_s = time.monotonic()
        self._on_client()

    def _forget(self, feed: _Feed) -> None:
        with self._lock:
            if feed in self._feeds:
                self._feeds.remove(feed)
            handlers, feed.handlers = feed.handlers, []
        for handler in handlers:
            feed.media.disconnect(handler)


def _keep_prepared(media: Any, feed: _Feed) -> None:
    """Hold the media after its last client has gone: one that comes while it is taken down would be refused (503)."""
    if not feed.is_held:
        feed.is_held = True
        media.prepare(None)


def _feed_one(feed: _Feed, buffer: Any, caps: Any, is_key: bool) -> None:
    if feed.is_full:
        feed.has_key_frame = False
        return
    feed.has_key_frame = feed.has_key_frame or is_key
    if not feed.has_key_frame:
        return
    stamped = buffer.copy_region(Gst.BufferCopyFlags.MEMORY | Gst.BufferCopyFlags.FLAGS, 0, buffer.get_size())
    stamped.pts = stamped.dts = Gst.CLOCK_TIME_NONE  # the media's own clock stamps it on arrival
    if feed.source.get_property("caps") is None:
        feed.source.set_property("caps", caps)
    feed.source.emit("push-buffer", stamped)


@dataclass
class _SharedServer:
    """One listening socket, its main loop, and the paths that use it."""

    server: Any
    loop: LoopThread
    host: str
    port: int
    key: tuple[str, int]
    source_ids: tuple[int, ...]
    """On the loop: the listening socket, and the sweep of sessions."""
    has_tls: bool
    handler: int = 0
    """Of the server; it holds this record, which holds the server."""
    wishes: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Path -> what to call when a client wants to play."""

    @classmethod
    def borrow(cls, host: str, port: int, guard: RestreamGuard) -> _SharedServer:
        with _SERVERS_LOCK:
            shared = _SERVERS.get((host, port)) if port else None
            return shared or cls._open(host, port, guard)

    @classmethod
    def _open(cls, host: str, port: int, guard: RestreamGuard) -> _SharedServer:
        auth, has_tls = _auth_of(guard), guard.certificate is not None
        server, loop = GstRtspServer.RTSPServer(), LoopThread("rtsp-restream")
        server.set_auth(auth)
        server.set_address(host)
        server.set_service(str(port))
        server.get_thread_pool().set_max_threads(4)  # a client that hangs must not hold up the others
        source_id = server.attach(loop.context)
        if not source_id:
            loop.stop()
            raise OutputError(f"cannot serve RTSP on {host}:{port}: the port is taken; choose another restream port")
        bound = server.get_bound_port()
        source_ids = (source_id, keep_swept(server, loop))
        shared = cls(server, loop, host, bound, (host, bound), source_ids, has_tls)
        shared.handler = server.connect("client-connected", shared._on_client)
        _SERVERS[shared.key] = shared
        return shared

    def mount(self, path: str, factory: Any, on_client: Callable[[], None]) -> None:
        self.wishes[path] = on_client
        self.server.get_mount_points().add_factory(path, factory)

    def give_back(self, path: str) -> None:
        with _SERVERS_LOCK:
            self.server.get_mount_points().remove_factory(path)
            self.wishes.pop(path, None)
            if self.wishes:
                return
            _SERVERS.pop(self.key, None)
        self._stop()

    def _stop(self) -> None:
        shut(self.server, self.loop, *self.source_ids)
        self.server.disconnect(self.handler)

    def _on_client(self, server: Any, client: Any) -> None:
        tune(server, client)
        client.connect("play-request", self._on_play)

    def _on_play(self, _client: Any, context: Any) -> None:
        """Somebody joins a stream that is running: a fresh key frame saves the wait."""
        path = context.uri.abspath if context.uri is not None else ""
        for mounted, wish in tuple(self.wishes.items()):
            if path.startswith(mounted):
                wish()


_SERVERS: dict[tuple[str, int], _SharedServer] = {}
_SERVERS_LOCK = threading.Lock()


def _auth_of(guard: RestreamGuard) -> Any:
    """What the server asks of clients. Raises OutputError when the certificate is no good."""
    auth, watcher = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    watcher.set_string("media.factory.role", WATCHER)
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.set_tls_certificate(guard.tls())
    if guard.user is None or guard.password is None:
        auth.set_default_token(watcher)
    else:
        auth.add_digest(guard.user, guard.password, watcher)
    return auth


def _for_watchers() -> Any:
    permissions = GstRtspServer.RTSPPermissions()
    for what in ("access", "construct"):
        permissions.add_permission_for_role(WATCHER, f"media.factory.{what}", True)
    return permissions
