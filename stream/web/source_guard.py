"""Which addresses may be watched because somebody asked over the API: against being sent to places inside.

A camera on the same network is what this program is for, so private addresses pass. This machine itself, its cloud's
metadata, and everything that is no single host do not; nor do files, devices and whatever else is no URL.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import psutil

from stream.errors import UsageError
from stream.sources.uri import parse_source

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Sequence[str]]
"""A host's addresses. Raises OSError."""

METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")))
"""Clouds' services that hand out credentials, where they are not link-local anyway."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
WITHOUT_CERTIFICATE = ("rtsp",)
"""Schemes that go to the address that was looked at; with TLS it is the certificate that must fit the name."""


@dataclass(frozen=True)
class SourceGuard:
    """What is let pass."""

    schemes: tuple[str, ...]
    hosts_allowed: tuple[str, ...] = ()
    """Let pass as they are, by name or address; in lower case."""
    resolve: Resolve = lambda host: _resolved(host)
    own_addresses: Callable[[], Iterable[str]] = lambda: _own_addresses()

    def checked(self, source: str) -> str:
        """The source as it is to be opened. Raises UsageError, one line that repeats neither user nor password.

        A name is replaced by the address that was looked at, so that it cannot lead elsewhere a moment later.
        """
        parts = urlsplit(_plain(source, self.schemes))
        host = (parts.hostname or "").rstrip(".")
        if host in self.hosts_allowed:
            return source
        addresses = self._addresses(host)
        for address in addresses:
            if (reason := self._objection(address)) is not None:
                raise UsageError(f"{host} is {reason}: name it in web.hosts_allowed if it is a camera")
        if parts.scheme in WITHOUT_CERTIFICATE and not _is_address(host):
            return parts._replace(netloc=_at(parts.netloc, addresses[0])).geturl()
        return source

    def _addresses(self, host: str) -> list[IpAddress]:
        if _is_address(host):
            return [_address(host)]
        try:
            found = [_address(address) for address in self.resolve(host)]
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise UsageError(f"no address is known for {host}: write the camera's address, such as 192.168.1.20")
        return found

    def _objection(self, address: IpAddress) -> str | None:
        inner = _inner(address)
        if inner.is_loopback or inner.is_unspecified or str(inner) in set(self.own_addresses()):
            return "this machine itself"
        if inner.is_link_local or inner in METADATA or address in METADATA:
            return "a link-local or metadata address"
        if inner.is_multicast or inner.is_reserved or inner in _THIS_NETWORK:
            return "no single host"
        return None


def with_user_info(source: str, user: str | None, password: str | None) -> str:
    """The URL with this user and password in place of its own; neither can end the host's part before its time.

    None keeps the URL's own.
    """
    if user is None and password is None:
        return source
    parts = urlsplit(source)
    front, _, place = parts.netloc.rpartition("@")
    own_user, _, own_password = front.partition(":")
    secret = f"{_quoted(user, own_user)}:{_quoted(password, own_password)}"
    return parts._replace(netloc=f"{secret}@{place}").geturl()


def with_user_info_of(source: str, before: str) -> str:
    """The URL with the other one's user and password, as they stand there, unless it has its own."""
    front, at, _ = urlsplit(before).netloc.rpartition("@")
    parts = urlsplit(source)
    return source if "@" in parts.netloc else parts._replace(netloc=f"{front}{at}{parts.netloc}").geturl()


def _quoted(text: str | None, otherwise: str) -> str:
    return otherwise if text is None else quote(text, safe="")


def host_of(source: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: where its user and password are sent. Not of a URL: the text itself."""
    try:
        parts = urlsplit(source)
        return parts.scheme or source, parts.hostname, parts.port
    except ValueError:
        return source, None, None


def _plain(source: str, schemes: Sequence[str]) -> str:
    """Raises UsageError for anything but a URL of an allowed scheme; variables would tell secrets of this process."""
    scheme, separator, _ = source.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise UsageError(f"only {', '.join(f'{known}://' for known in schemes)} can be watched from here")
    if "${" in source:
        raise UsageError("variables are filled in in configuration files only: write user and password beside it")
    if any(letter in source for letter in "\\`"):
        raise UsageError("the address holds a character that no address has: write rtsp://host:port/path")
    parse_source(source)
    return source


def _inner(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


def _address(text: str) -> IpAddress:
    """Without its zone: with one an address equals no other, though it leads to the same place."""
    return ipaddress.ip_address(text.partition("%")[0])


def _is_address(host: str) -> bool:
    try:
        _address(host)
    except ValueError:
        return False
    return True


def _at(netloc: str, address: IpAddress) -> str:
    """User, password and port as they are, the host replaced."""
    front, at, place = netloc.rpartition("@")
    _, colon, port = place.partition(":")
    return f"{front}{at}{f'[{address}]' if address.version == 6 else address}{colon}{port}"


def _resolved(host: str) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _own_addresses() -> list[str]:
    found = (address for addresses in psutil.net_if_addrs().values() for address in addresses)
    return [address.address.partition("%")[0] for address in found]
