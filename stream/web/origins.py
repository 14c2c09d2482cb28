"""Whether a request was meant for this server: against DNS rebinding and requests that another site makes."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
SAFE = ("GET", "HEAD", "OPTIONS")


class Origins:
    """The names this server goes by. Pure."""

    def __init__(self, names: Iterable[str], is_loopback: bool) -> None:
        """``is_loopback``: whether only this machine can reach it; then only its own names are good."""
        self._names = {name.lower().rstrip(".") for name in names} | {"localhost"}
        self._is_loopback = is_loopback

    def refusal(self, method: str, headers: dict[str, str]) -> str | None:
        """Why a request is not answered, in one line; None when it is. ``headers``: names in lower case."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "this name is none of this server's: ask for it by its address, or put the name into web.names"
        origin = headers.get("origin")
        if origin is not None and not _is_same(origin, host):
            return "this request comes from another site: open the page itself"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(method, headers):
            return "this request comes from another site: open the page itself"
        return None

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].strip("[]").lower().rstrip(".")
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._is_loopback or name in self._names


def _is_same(origin: str, host: str) -> bool:
    """Not by scheme: a proxy in front may speak TLS where this server does not."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _is_visit(method: str, headers: dict[str, str]) -> bool:
    """Somebody followed a link: nothing changes, and the site it stands on sees nothing of the answer."""
    return (
        method in SAFE and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )


def own_names(configured: Iterable[str], host: str, *, is_loopback: bool) -> set[str]:
    """Those of the configuration and, where other machines may ask, this machine's own."""
    return {*configured, host} | (set() if is_loopback else {socket.gethostname()})
