"""What the live path meets outside itself: cameras, a display, ports."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from stream.config import AppConfig
from stream.doctor.finding import Finding, Status, lack


def examine() -> list[Finding]:
    defaults = AppConfig()
    metrics, restream, web = defaults.metrics, defaults.restream, defaults.web
    other_metrics, other_restream = "unmask watch … --metrics-port 9109", "restream: {port: 8555}  (in a --config file)"
    return [
        *camera_findings(Path("/dev")),
        display_finding(os.environ, _window_sink),
        port_finding("metrics", (metrics.host, metrics.port), other_metrics, is_needed=True),
        port_finding("page", (web.host, web.port), "unmask watch … --web 127.0.0.1:8081", is_needed=False),
        port_finding("restream", (restream.host, restream.port), other_restream, is_needed=False),
    ]


def camera_findings(devices: Path) -> list[Finding]:
    """Cameras of this machine. ``devices``: where their nodes are, /dev."""
    nodes = sorted(devices.glob("video[0-9]*"), key=lambda node: (len(node.name), node.name))
    if nodes:
        return [_camera(node) for node in nodes]
    mend = "plug one in (a container needs --device /dev/video0), or watch rtsp://… or a file"
    return [Finding("Cameras", "webcam", Status.ABSENT, f"no {devices}/video0", mend)]


def display_finding(environment: Mapping[str, str], window_sink: Callable[[], str | None]) -> Finding:
    """Where the window would open. ``window_sink`` tries the display, and names what opened it."""
    name = environment.get("WAYLAND_DISPLAY") or environment.get("DISPLAY")
    sink = window_sink() if name else None
    if sink is not None:
        return Finding("Display", "window", Status.FOUND, f"{name}, by {sink}")
    detail = f"the display {name} cannot be opened" if name else "no display here"
    mend = "look at the video without one: unmask watch … --save out.mp4, or --restream"
    return Finding("Display", "window", Status.ABSENT, detail, mend)


def port_finding(what: str, address: tuple[str, int], mend: str, *, is_needed: bool) -> Finding:
    """Whether ``address`` (host, port) is free to listen on."""
    shown = f"{address[0]}:{address[1]}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            detail = f"{shown} cannot be used ({error.strerror}); is another unmask running?"
            return Finding("Ports", what, lack(is_needed=is_needed), detail, mend)
    return Finding("Ports", what, Status.FOUND, f"{shown} is free")


def _camera(node: Path) -> Finding:
    if os.access(node, os.R_OK | os.W_OK):
        return Finding("Cameras", str(node), Status.FOUND, "can be opened")
    mend = "sudo usermod -aG video $USER  (then log in again)"
    return Finding("Cameras", str(node), Status.ABSENT, "no permission", mend)


def _window_sink() -> str | None:
    try:
        from stream.gst.inspect import window_sink
    except (ImportError, ValueError):  # said by the video checks already
        return None
    return window_sink()
