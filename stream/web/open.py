"""The page and its API, opened for a run: checked and listening before anything starts, answering after it has."""

from __future__ import annotations

from pathlib import Path

import anyio

from stream.alerts.alert import AlertListener
from stream.config_web import WebConfig
from stream.web.access import Access
from stream.web.application import build_application, guarded
from stream.web.archive import RecentAlerts
from stream.web.endless import Viewers
from stream.web.machine import Machine
from stream.web.routes.room import Room
from stream.web.server import WebServer
from stream.web.services import WebServices
from stream.web.source_guard import SourceGuard
from stream.web.tls import tls_context
from stream.web.users import UserBook

LIST_EVERY_S = 1.0
"""How often it is looked whether the list of streams has changed."""


class OpenWeb:
    """Listens from the beginning; answers between ``start`` and ``close``."""

    def __init__(self, server: WebServer, room: Room, alerts: AlertListener) -> None:
        self._server, self._room = server, room
        self.alerts = alerts
        """To be told of alerts."""

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        application = guarded(self._room, build_application(self._room))
        self._server.start(application, self._watch_list, self._room.viewers.close)

    def close(self) -> None:
        """Send everybody away; a second call does nothing."""
        self._server.close()

    async def _watch_list(self) -> None:
        """Streams come and go by other ways, too: a configuration that is read again, a camera that is lost."""
        before = None
        while True:
            now = [(one.name, one.source, one.state, one.last_error) for one in self._room.services.streams.list()]
            if before is not None and now != before:
                self._room.services.hub.streams_changed()
            before = now
            await anyio.sleep(LIST_EVERY_S)


def open_web(config: WebConfig, services: WebServices) -> OpenWeb:
    """Raises UsageError when users or certificate cannot be used, and OutputError when it cannot listen."""
    users = None if config.users is None else UserBook(config.users)
    tls = None if config.tls is None else tls_context(config.tls)
    alerts = RecentAlerts(services.evidence, services.hub.alert_changed)
    guard = SourceGuard(config.sources_allowed, tuple(host.lower() for host in config.hosts_allowed))
    viewers = Viewers(config.clients_most)
    machine = Machine(services.evidence or Path())
    room = Room(config, services, Access(config, users), alerts, guard, viewers, machine)
    services.metrics.web_clients(lambda: room.watching)
    return OpenWeb(WebServer(config.host, config.port, tls), room, alerts)
