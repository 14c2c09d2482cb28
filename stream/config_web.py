"""The live page and its API: where they listen, who is let in, and what may be asked of them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stream.config_section import Port, Positive, Section, Text, is_loopback

HIGHEST_PORT = 65535
Scheme = Literal["rtsp", "rtsps", "http", "https"]


class TlsConfig(Section):
    """A certificate and its key, as PEM files; the key without a passphrase."""

    certificate: Path
    """With its intermediates, the server's own first."""
    key: Path


class WebConfig(Section):
    """The live page: http://host:port/, with TLS https://host:port/."""

    enabled: bool = False
    host: Text = "127.0.0.1"
    """Loopback, unless ``users`` and ``tls`` are given."""
    port: Port = 8080
    """0 takes a free one."""
    names: tuple[Text, ...] = ()
    """Host names that browsers may ask for, besides this machine's own name and addresses."""
    tls: TlsConfig | None = None
    users: Path | None = None
    """Who may log in: a file that ``unmask web user`` writes. Left out, everybody on this machine is admin."""
    video: Literal["auto", "mjpeg", "webrtc"] = "auto"
    """How the page is shown video; ``auto``: WebRTC where this machine has it, with MJPEG as its fallback."""
    sources_allowed: tuple[Scheme, ...] = ("rtsp", "rtsps")
    """Schemes of sources that may be added over the API."""
    hosts_allowed: tuple[Text, ...] = ()
    """Hosts of sources that the API's guard lets pass unlooked, by name or address as they are asked for."""
    streams_most: Annotated[int, Field(ge=1)] = 64
    """So many streams at most, when one is added over the API."""
    clients_most: Annotated[int, Field(ge=1, le=1024)] = 32
    """Viewers of videos and listeners to events at one time, all together; as many again watch by WebRTC."""
    body_most_bytes: Annotated[int, Field(ge=1024, le=2**20)] = 64 * 1024
    """Of a request."""
    session_idle_s: Positive = 3600.0
    """A login that is not used for so long is over; an open page uses it."""
    session_most_s: Positive = 12 * 3600.0
    """A login is over after this long, used or not."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @model_validator(mode="after")
    def _nobody_let_in(self) -> WebConfig:
        if self.enabled and not self.is_loopback and (self.users is None or self.tls is None):
            raise ValueError(
                f"host {self.host} can be reached from other machines, so the page needs both web.users (see unmask "
                "web user --help) and web.tls (certificate and key): set them, or leave the host at 127.0.0.1"
            )
        return self


def is_everywhere(host: str) -> bool:
    """Whether it stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


class HighPortError(ValueError):
    """An address whose port is a number, but none of a port."""


def host_and_port(text: str) -> tuple[str | None, int | None]:
    """``127.0.0.1:8080``, ``[::1]:8080``, ``:8080``, ``8080`` or ``127.0.0.1``. Raises ValueError for anything else."""
    host, separator, port = text.rpartition(":")
    if not separator:
        host, port = ("", text) if text.isdigit() else (text, "")
    elif text.endswith("]") or ("]" not in text and text.count(":") > 1):  # an IPv6 address alone
        host, port = text, ""
    host = host.removeprefix("[").removesuffix("]")
    if host and host != "localhost":
        ipaddress.ip_address(host)
    if port and not (port.isascii() and port.isdigit()):
        raise ValueError(f"{port} is no port")
    if port and int(port) > HIGHEST_PORT:
        raise HighPortError(f"port {port} is too high: {HIGHEST_PORT} is the highest")
    return host or None, int(port) if port else None
