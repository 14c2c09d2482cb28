"""Alerts as they are listed, and evidence that stays within its folder."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from stream.alerts.alert import AlertState
from stream.web.archive import RecentAlerts
from tests.stream.web.site import alert_of


def kept(folder: Path, name: str, **changes: Any) -> Path:
    """An alert's evidence: a snapshot and a manifest that names it, and what ``changes`` say."""
    own = folder / name
    own.mkdir(parents=True)
    (own / "snapshot.jpg").write_bytes(b"picture")
    (own / "timeline.json").write_text('{"moments": [1, NaN]}')
    manifest = {
        "alert": asdict(alert_of(name, evidence=name)),
        "files": [
            {"name": "snapshot.jpg", "kind": "snapshot", "bytes": 7, "sha256": "ab"},
            {"name": "timeline.json", "kind": "timeline", "bytes": 20, "sha256": "cd"},
        ],
        **changes,
    }
    (own / "manifest.json").write_text(json.dumps(manifest))
    return own


def test_alerts_come_newest_first_and_a_change_replaces() -> None:
    told = []
    archive = RecentAlerts(on_change=told.append)
    for number in range(5):
        archive.alert_changed(alert_of(f"a{number}", began_at=float(number)))
    archive.alert_changed(alert_of("a2", began_at=2.0, state=AlertState.RESOLVED))
    assert [alert.id for alert in archive.newest(3)] == ["a4", "a3", "a2"]
    assert [alert.id for alert in archive.newest(9, before=2.0)] == ["a1", "a0"]
    assert [alert.id for alert in archive.newest(9, state=AlertState.RESOLVED)] == ["a2"]
    assert archive.newest(9, stream="other") == []
    assert len(told) == 6


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.web.archive.KEPT", 3)
    archive = RecentAlerts()
    for number in range(5):
        archive.alert_changed(alert_of(f"a{number}", began_at=float(number)))
    assert [alert.id for alert in archive.newest(9)] == ["a4", "a3", "a2"]


def test_evidence_is_what_the_manifest_names(tmp_path: Path) -> None:
    kept(tmp_path, "a1")
    archive = RecentAlerts(tmp_path)
    evidence = archive.evidence("a1")
    assert evidence is not None
    assert [(file.name, file.kind, file.size_bytes) for file in evidence.files] == [
        ("snapshot.jpg", "snapshot", 7),
        ("timeline.json", "timeline", 20),
    ]
    assert evidence.timeline == {"moments": [1, None]}
    path = archive.file("a1", "snapshot.jpg")
    assert path is not None
    assert path.read_bytes() == b"picture"
    assert archive.file("a1", "manifest.json") is not None


def test_alerts_of_earlier_runs_are_listed_as_over(tmp_path: Path) -> None:
    kept(tmp_path, "a1")
    (alert,) = RecentAlerts(tmp_path).newest(9)
    assert (alert.id, alert.state, alert.evidence) == ("a1", AlertState.RESOLVED, "a1")


def test_what_was_purged_is_gone_at_once(tmp_path: Path) -> None:
    own = kept(tmp_path, "a1")
    archive = RecentAlerts(tmp_path)
    for path in own.iterdir():
        path.unlink()
    own.rmdir()
    assert archive.evidence("a1") is None
    assert archive.file("a1", "snapshot.jpg") is None


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.txt",
        "..",
        ".",
        "",
        "/etc/passwd",
        ".hidden",
        "sub/inner.jpg",
        "snapshot.jpg/../../../secret.txt",
        "unnamed.jpg",
        "link.jpg",
        "folder",
        "pipe",
        "snapshot.jpg\0.txt",
    ],
)
def test_nothing_but_the_alerts_own_files_is_given(tmp_path: Path, name: str) -> None:
    """Even when the manifest names it."""
    (tmp_path / "secret.txt").write_text("secret")
    entries = [{"name": name, "kind": "x", "bytes": 1, "sha256": ""}]
    own = kept(tmp_path / "evidence", "a1", files=[] if name == "unnamed.jpg" else entries)
    (own / ".hidden").write_text("secret")
    (own / "unnamed.jpg").write_text("secret")
    (own / "link.jpg").symlink_to(tmp_path / "secret.txt")
    (own / "folder").mkdir()
    (own / "sub").mkdir()
    (own / "sub" / "inner.jpg").write_text("secret")
    os.mkfifo(own / "pipe")
    assert RecentAlerts(tmp_path / "evidence").file("a1", name) is None


@pytest.mark.parametrize("folder", ["../outside", "..", ".", "/etc", "link", "", ".hidden"])
def test_an_alerts_folder_lies_below_the_evidences(tmp_path: Path, folder: str) -> None:
    kept(tmp_path, "outside")
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "link").symlink_to(tmp_path / "outside")
    kept(tmp_path / "evidence", ".hidden")
    archive = RecentAlerts(tmp_path / "evidence")
    archive.alert_changed(alert_of("a1", evidence=folder))
    assert archive.evidence("a1") is None
    assert archive.file("a1", "snapshot.jpg") is None


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", "{", "null", '{"alert": 3}', '{"alert": {"id": "x"}}', '{"alert": {"kind": "none"}}', "[" * 100_000],
)
def test_a_broken_manifest_is_left_out(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "a1").mkdir()
    (tmp_path / "a1" / "manifest.json").write_text(manifest)
    archive = RecentAlerts(tmp_path)
    archive.alert_changed(alert_of("mine", evidence="a1"))
    assert [alert.id for alert in archive.newest(9)] == ["mine"]
    evidence = archive.evidence("mine")
    assert evidence is None or evidence.files == ()


@pytest.mark.parametrize("files", [None, 3, [None, 3, {}, {"name": 3}, {"name": "a.jpg", "bytes": "x", "kind": None}]])
def test_a_manifests_odd_entries_are_left_out(tmp_path: Path, files: object) -> None:
    kept(tmp_path, "a1", files=files)
    evidence = RecentAlerts(tmp_path).evidence("a1")
    assert evidence is not None
    assert [file.name for file in evidence.files] == (["a.jpg"] if isinstance(files, list) else [])
    assert evidence.timeline is None


def test_without_a_folder_nothing_was_kept(tmp_path: Path) -> None:
    archive = RecentAlerts(tmp_path / "not made yet")
    archive.alert_changed(alert_of("a1"))
    assert archive.evidence("a1") is None
