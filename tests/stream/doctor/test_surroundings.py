"""Cameras, display and ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from stream.doctor.finding import Status
from stream.doctor.surroundings import camera_findings, display_finding, examine, port_finding


def test_cameras_are_listed_by_number_and_other_devices_are_not(tmp_path: Path) -> None:
    for name in ("video10", "video2", "video0", "videography", "null"):
        (tmp_path / name).touch()
    assert [Path(finding.what).name for finding in camera_findings(tmp_path)] == ["video0", "video2", "video10"]


def test_a_camera_that_may_be_opened_is_found(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    (finding,) = camera_findings(tmp_path)
    assert (finding.status, finding.what) == (Status.FOUND, str(tmp_path / "video0"))


def test_a_camera_that_may_not_be_opened_says_which_group_to_join(tmp_path: Path) -> None:
    (tmp_path / "video0").symlink_to(tmp_path / "unplugged")  # refused to everybody, root included
    (finding,) = camera_findings(tmp_path)
    assert finding.status is Status.ABSENT
    assert finding.mend.startswith("sudo usermod -aG video")


def test_no_camera_is_no_harm(tmp_path: Path) -> None:
    (finding,) = camera_findings(tmp_path)
    assert finding.status is Status.ABSENT
    assert "rtsp://" in finding.mend


@pytest.mark.parametrize("environment", [{}, {"DISPLAY": ""}, {"WAYLAND_DISPLAY": ""}])
def test_without_a_display_the_window_is_not_even_tried(environment: dict[str, str]) -> None:
    tried: list[str] = []

    def window_sink() -> str:
        tried.append("window")
        return "ximagesink"

    finding = display_finding(environment, window_sink)
    assert (finding.status, finding.detail, tried) == (Status.ABSENT, "no display here", [])
    assert "--save" in finding.mend


def test_a_display_that_opens_is_named_with_what_opened_it() -> None:
    finding = display_finding({"DISPLAY": ":0"}, lambda: "ximagesink")
    assert (finding.status, finding.detail) == (Status.FOUND, ":0, by ximagesink")


def test_a_display_that_does_not_open_is_named() -> None:
    finding = display_finding({"DISPLAY": ":7"}, lambda: None)
    assert finding.status is Status.ABSENT
    assert ":7" in finding.detail


@pytest.mark.parametrize(("is_needed", "status"), [(True, Status.MISSING), (False, Status.ABSENT)])
def test_a_taken_port_says_how_to_take_another(is_needed: bool, status: Status) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        finding = port_finding("metrics", taken.getsockname(), "--metrics-port 0", is_needed=is_needed)
    assert (finding.status, finding.mend) == (status, "--metrics-port 0")


def test_the_ports_of_metrics_page_and_restream_are_looked_at() -> None:
    found = {finding.what: finding.detail.split()[0] for finding in examine() if finding.group == "Ports"}
    assert found == {"metrics": "127.0.0.1:9108", "page": "127.0.0.1:8080", "restream": "127.0.0.1:8554"}


def test_a_free_port_is_free_again_after_the_look() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    assert port_finding("metrics", address, "", is_needed=True).status is Status.FOUND
    socket.create_server(address).close()
