"""GStreamer's errors in a user's words. Pure: codes and texts in, one line out."""

from __future__ import annotations

import re
from dataclasses import dataclass

CORE, RESOURCE, STREAM = "gst-core-error-quark", "gst-resource-error-quark", "gst-stream-error-quark"
MISSING_PLUGIN = 12
"""Of GstCoreError."""
NOT_FOUND, BUSY, NOT_AUTHORIZED = 3, 4, 15
"""Of GstResourceError."""
TYPE_NOT_FOUND, WRONG_TYPE, CODEC_NOT_FOUND = 4, 5, 6
"""Of GstStreamError."""


@dataclass(frozen=True)
class Fault:
    """What went wrong with a source."""

    reason: str
    """One of SOURCE_REASONS: a metric label."""
    advice: str
    """What happened and what to do; without the address."""


@dataclass(frozen=True)
class GstError:
    """An error message from the bus, as plain values."""

    domain: str
    code: int
    message: str
    debug: str
    element: str = ""
    """Factory name of the element that posted it."""


NO_VIDEO = Fault("error", "has no video in it: give a file or stream with a picture")
CUT_OFF = Fault("error", "was cut off before it was finished (its index is missing): copy or record it again")
END = Fault("eos", "the source ended the stream")
UNTRUSTED = Fault(
    "untrusted",
    "shows a certificate that nobody vouches for: add its issuer with update-ca-certificates, or check the address",
)
NOT_STARTED = Fault("error", "cannot be opened: run 'unmask doctor' to see what is missing")


def fault_from_error(error: GstError) -> Fault:
    """The most telling explanation: by code where GStreamer has one, by text where it says it in words only."""
    by_code = _BY_ELEMENT.get((error.element, error.domain, error.code), _BY_CODE.get((error.domain, error.code)))
    if by_code is not None:
        return by_code
    text = f"{error.element}: {error.message} {re.sub(_QUOTED, '', error.debug)}"
    for pattern, fault in _BY_TEXT:
        if re.search(pattern, text, flags=re.IGNORECASE | re.DOTALL):
            return fault
    return Fault("error", f"cannot be read ({_scrubbed(error.message)}): check it with another player")


def _scrubbed(message: str) -> str:
    """GStreamer's own sentence without addresses and paths, which may hold secrets."""
    one_line = " ".join(re.sub(_QUOTED, "…", message).split())
    return re.sub(r"\S*(://|/|@)\S*", "…", one_line).rstrip(". ")


_QUOTED = r"'[^']*'|\"[^\"]*\"|\bURL: \S*"
_UNAUTHORIZED = Fault("unauthorized", "refused the user name or password (401): check both")
_NOT_FOUND = Fault("not_found", "does not exist (404): check the path")
_NO_DEVICE = Fault("not_found", "no such device: plug a camera in, or check the device's number (ls /dev/video*)")
_REFUSED = Fault("refused", "nothing answers at this address: check host and port, and that it is switched on")
_TIMEOUT = Fault("timeout", "does not answer in time: check the network and the address")
_BUSY = Fault("error", "is in use by another program: close it and try again")
_NOT_A_VIDEO = Fault("error", "is not a video, or is damaged from its start: give another one")
_NO_DECODER = Fault(
    "error", "needs a decoder that is missing: sudo apt install gstreamer1.0-libav gstreamer1.0-plugins-bad"
)

_BY_ELEMENT = {("v4l2src", RESOURCE, NOT_FOUND): _NO_DEVICE}
_BY_CODE = {
    (RESOURCE, NOT_AUTHORIZED): _UNAUTHORIZED,
    (RESOURCE, NOT_FOUND): _NOT_FOUND,
    (RESOURCE, BUSY): _BUSY,
    (STREAM, TYPE_NOT_FOUND): _NOT_A_VIDEO,
    (STREAM, WRONG_TYPE): _NOT_A_VIDEO,
    (STREAM, CODEC_NOT_FOUND): _NO_DECODER,
    (CORE, MISSING_PLUGIN): _NO_DECODER,
}
_BY_TEXT = (
    (r"\bunauthori[sz]ed\b|\(401\)|\bforbidden\b|\(403\)|no supported authentication", _UNAUTHORIZED),
    (r"\bnot found\b|\(404\)", _NOT_FOUND),
    (r"no playable streams|\bmoov\b", CUT_OFF),
    (r"device or resource busy|device .* is busy", _BUSY),
    (r"timed? ?out", _TIMEOUT),
    (r"refused|(could not|failed to|cannot) (connect|resolve)|souphttpsrc:.*reason error", _REFUSED),
    (r"missing a plug-?in|no suitable plugins", _NO_DECODER),
)
