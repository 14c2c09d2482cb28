"""Alerts as the page lists them: those of this run in memory, earlier ones from their evidence folders."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stream.alerts.alert import Alert, AlertState, alert_from_json
from stream.evidence.folders import MANIFEST, TIMELINE
from stream.web.ports import Evidence, EvidenceFile

log = logging.getLogger(__name__)

KEPT = 5000
"""Alerts in memory; the oldest are forgotten first."""
JSON_MOST_BYTES = 8 * 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
"""Of a folder or a file: one step of a path, neither hidden nor ``..``."""


class RecentAlerts:
    """An AlertListener that remembers, and the AlertArchive that the page reads.

    ``folder``: where evidence lies, or None. Its manifests are read again at each request, so what was purged is gone.
    """

    def __init__(self, folder: Path | None = None, on_change: Callable[[Alert], None] = lambda _: None) -> None:
        self._folder, self._on_change = folder, on_change
        self._lock = threading.Lock()
        self._alerts: dict[str, Alert] = {}
        for alert in sorted(self._earlier(), key=lambda alert: alert.began_at)[-KEPT:]:
            self._alerts[alert.id] = alert

    def alert_changed(self, alert: Alert) -> None:
        with self._lock:
            self._alerts[alert.id] = alert
            while len(self._alerts) > KEPT:
                del self._alerts[next(iter(self._alerts))]
        self._on_change(alert)

    def newest(
        self, limit: int, before: float | None = None, stream: str | None = None, state: AlertState | None = None
    ) -> Sequence[Alert]:
        with self._lock:
            alerts = list(self._alerts.values())
        wanted = [
            alert
            for alert in alerts
            if (before is None or alert.began_at < before)
            and (stream is None or alert.stream == stream)
            and (state is None or alert.state is state)
        ]
        return sorted(wanted, key=lambda alert: alert.began_at, reverse=True)[:limit]

    def alert(self, alert_id: str) -> Alert | None:
        with self._lock:
            return self._alerts.get(alert_id)

    def evidence(self, alert_id: str) -> Evidence | None:
        folder = self._folder_of(alert_id)
        manifest = None if folder is None else _manifest(folder)
        if manifest is None:
            return None
        files = tuple(_files(manifest))
        has_timeline = TIMELINE in {file.name for file in files}
        return Evidence(files, manifest, _read_json(folder / TIMELINE) if folder and has_timeline else None)

    def file(self, alert_id: str, name: str) -> Path | None:
        folder, kept = self._folder_of(alert_id), self.evidence(alert_id)
        if folder is None or kept is None or name not in {MANIFEST, *(file.name for file in kept.files)}:
            return None
        path = folder / name
        return path if _NAME.fullmatch(name) and _is_plain(path) else None

    def _folder_of(self, alert_id: str) -> Path | None:
        alert = self.alert(alert_id)
        if self._folder is None or alert is None or not _NAME.fullmatch(alert.evidence or ""):
            return None
        folder = self._folder / str(alert.evidence)
        return folder if folder.is_dir() and not folder.is_symlink() else None

    def _earlier(self) -> Iterator[Alert]:
        """Alerts whose evidence is still there, of runs before this one."""
        for folder in _folders(self._folder):
            manifest = _manifest(folder)
            alert = None if manifest is None else _alert(manifest.get("alert"), folder.name)
            if alert is not None:
                yield alert


def _folders(folder: Path | None) -> list[Path]:
    try:
        found = [] if folder is None else list(folder.iterdir())
    except OSError:  # not made yet
        return []
    return sorted(path for path in found if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink())


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _manifest(folder: Path) -> dict[str, Any] | None:
    """None where there is none, or none that can be read."""
    values = _read_json(folder / MANIFEST)
    return values if isinstance(values, dict) else None


def _read_json(path: Path) -> Any:
    """None where there is none, or none that can be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(file, "rb") as stream:
            return json.loads(stream.read(JSON_MOST_BYTES), parse_constant=lambda _: None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s in %s cannot be read (%s): it is left out", path.name, path.parent.name, type(error).__name__)
        return None


def _files(manifest: Mapping[str, Any]) -> Iterator[EvidenceFile]:
    listed = manifest.get("files")
    for entry in listed if isinstance(listed, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and _NAME.fullmatch(name):
            size = entry.get("bytes")
            yield EvidenceFile(
                name,
                str(entry.get("kind", "")),
                size if isinstance(size, int) else 0,
                str(entry.get("sha256", "")),
            )


def _alert(values: Any, folder: str) -> Alert | None:
    """An alert from its manifest; None when it is none. One that still fires there ended with its run."""
    try:
        return alert_from_json({**values, "state": AlertState.RESOLVED, "evidence": folder})
    except (TypeError, ValueError):
        return None
