"""Where video comes from, parsed once. An address keeps its secrets to itself: no text made from it shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from stream.errors import UsageError

SourceKind = Literal["webcam", "rtsp", "http", "file", "screen", "test", "csi"]
Transport = Literal["tcp", "udp"]

PATTERNS = ("ball", "smpte", "snow", "black", "white", "checkers-8", "circular", "smpte75", "pinwheel")
"""Test pictures: names of videotestsrc's patterns."""
KNOWN = "webcam, webcam:1, /dev/video0, rtsp://, rtsps://, http://, https://, a file, screen, test, csi:0"
LIVE_PLAYLIST = ".m3u8"
_KEY = r"(?i:user(?:name)?|usr|login|pass(?:w(?:or)?d)?|pwd|psw|pw|token|key|auth(?:basic)?|secret)(?:=|%3D|%3d)"
_PLAIN = r"(?i:channel|ch|chn|stream|subtype|profile|keyframe|unicast|proto|transport|resolution|codec|fps|audio)="
"""What recorders' paths hold beside secrets."""
_VALUE = re.compile(rf"({_KEY}).*?(?=[&;](?:{_KEY}|{_PLAIN})|\Z)", re.DOTALL)
"""Until the next value of a known name: where a secret that was not encoded ends is not known, and it may itself hold
what looks like a name.
"""
_PAIR = re.compile(r"(?<=/)[^/]*:[^/]*")
"""A part of a path that may be user:password."""


@dataclass(frozen=True, repr=False)
class SourceUri:
    """A source's address. ``str``, ``repr`` and ``redacted()`` hold no user, password or query value.

    Nor what a path holds of them, as that of many recorders does: ``/user=admin&password=XXXX&channel=1``.
    """

    kind: SourceKind
    location: str
    """webcam: device path. rtsp, http: URL without user info. file: path. screen: X screen number or PipeWire node.
    test: pattern. csi: sensor number. May hold secrets in path and query."""
    user: str | None = None
    password: str | None = None
    transport: Transport = "tcp"
    """How RTSP sends."""

    @property
    def is_live(self) -> bool:
        """Whether frames that are not taken are lost. Files and plain http downloads wait; an HLS playlist is live."""
        if self.kind == "http":
            return urlsplit(self.location).path.lower().endswith(LIVE_PLAYLIST)
        return self.kind != "file"

    @property
    def is_remote(self) -> bool:
        return self.kind in ("rtsp", "http")

    def redacted(self) -> str:
        """The address, fit for logs and errors."""
        if self.is_remote:
            return _redacted_url(self.location, has_user=self.user is not None)
        return redacted_path(self.location) if self.kind in ("file", "webcam") else f"{self.kind}:{self.location}"

    def __str__(self) -> str:
        return self.redacted()

    def __repr__(self) -> str:
        return f"SourceUri({self.kind}, {self.redacted()!r})"


def parse_source(
    text: str, *, transport: Transport = "tcp", user: str | None = None, password: str | None = None
) -> SourceUri:
    """What a person typed, understood. ``user`` and ``password`` win over those inside a URL.

    Raises UsageError that never repeats the text: it may hold a password in the wrong place.
    """
    text = text.strip()
    scheme, has_scheme, _ = text.partition("://")
    if has_scheme:
        return _from_url(text, scheme.lower(), transport, user, password)
    word, _, detail = text.partition(":")
    device = _DEVICES.get(word)
    if device is not None:
        return device(detail)  # a file of that name is ./webcam
    return _from_path(text)


def _from_url(text: str, scheme: str, transport: Transport, user: str | None, password: str | None) -> SourceUri:
    if scheme == "file":
        return _from_path(_file_path(text))
    kind = _URL_KINDS.get(scheme)
    if kind is None:
        shown = scheme if re.fullmatch(r"[a-z][a-z0-9+.-]{0,19}", scheme) else "this"
        raise UsageError(f"unknown kind of source {shown}://: use one of {KNOWN}")
    parts = _split(text, scheme)
    return SourceUri(
        kind,
        parts._replace(scheme=scheme, netloc=parts.netloc.rpartition("@")[2], fragment="").geturl(),
        _decoded(parts.username) if user is None else user,
        _decoded(parts.password) if password is None else password,
        transport,
    )


def _split(text: str, scheme: str) -> SplitResult:
    """Raises UsageError for an address without a host or with an impossible port."""
    hint = f"write {scheme}://host:port/path"
    if any(ord(letter) < 0x21 or ord(letter) == 0x7F for letter in text):
        raise UsageError(f"the {scheme} address holds a space or control character: {hint}")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UsageError(
            f"the {scheme} address cannot be read: {hint}; in user and password write / as %2F, @ as %40, : as %3A"
        ) from None
    if not host:
        raise UsageError(f"the {scheme} address names no host: {hint}")
    return parts


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _file_path(text: str) -> str:
    host, _, _ = text[len("file://") :].partition("/")
    if host not in ("", "localhost"):
        raise UsageError("a file:// address must name a file on this machine: write file:///path/to/clip.mp4")
    return unquote(text[len("file://") + len(host) :])


def _from_path(text: str) -> SourceUri:
    if not text or "\0" in text:
        raise UsageError(f"no source given: use one of {KNOWN}")
    if re.fullmatch(r"/dev/video\d+", text):
        return SourceUri("webcam", text)
    return SourceUri("file", str(_at_home(Path(text))))


def _at_home(path: Path) -> Path:
    """``~`` and ``~name`` as the shell takes them: where nobody has that name, it is a name like any other."""
    try:
        return path.expanduser()
    except (RuntimeError, ValueError):  # nobody of that name; a name that no machine could have
        return path


def _webcam(detail: str) -> SourceUri:
    return SourceUri("webcam", f"/dev/video{_number(detail, 'webcam')}")


def _screen(detail: str) -> SourceUri:
    return SourceUri("screen", _number(detail, "screen"))


def _csi(detail: str) -> SourceUri:
    return SourceUri("csi", _number(detail, "csi"))


def _test(detail: str) -> SourceUri:
    pattern = detail or PATTERNS[0]
    if pattern not in PATTERNS:
        raise UsageError(f"unknown test pattern: use test:NAME with one of {', '.join(PATTERNS)}")
    return SourceUri("test", pattern)


def _number(detail: str, word: str) -> str:
    if detail and not re.fullmatch(r"[0-9]{1,6}", detail):
        raise UsageError(f"{word} is followed by a number: write {word}:0")
    return str(int(detail or "0"))


def redacted_path(text: str) -> str:
    """A path as it is, without the values of ``password=`` and the like.

    In what may be a mistyped address all that holds a colon and stands before an @ is starred.
    """
    if hides_all(text):
        return "***"
    return _VALUE.sub(r"\1***", re.sub(r"[^/]*:.*@", "***@", text, flags=re.DOTALL))


def redacted_host_and_path(text: str) -> str:
    """Of an address without user info and query: its path without ``user:password`` or values of ``password=``."""
    return _PAIR.sub("***", _VALUE.sub(r"\1***", text))


def hides_all(text: str) -> bool:
    """Whether an @ follows ``password=`` or the like: which part of it is a secret cannot be told then."""
    return re.search(_KEY, text.rpartition("@")[0]) is not None


def _redacted_url(url: str, *, has_user: bool) -> str:
    """Scheme, host and path; the query's values, secrets in the path and anything before an @ are starred.

    With an @ behind the first slash or question mark, what looks like the host may be a user of a mistyped address.
    """
    parts = urlsplit(url)
    if "@" in parts.query or hides_all(parts.netloc + parts.path):
        return f"{parts.scheme}://***"
    _, at, shown = (parts.netloc + parts.path).rpartition("@")
    query = "?***" if parts.query else ""
    return f"{parts.scheme}://{'***@' if has_user or at else ''}{redacted_host_and_path(shown)}{query}"


_DEVICES: dict[str, Callable[[str], SourceUri]] = {"webcam": _webcam, "screen": _screen, "csi": _csi, "test": _test}
_URL_KINDS: dict[str, SourceKind] = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
