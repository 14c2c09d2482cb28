"""What GStreamer can do on this machine, as plain values for ``unmask doctor``."""

from __future__ import annotations

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

from stream.errors import MissingPartError, OutputError  # noqa: E402
from stream.gst.codecs import DECODERS, pick_encoder  # noqa: E402
from stream.gst.packages import PACKAGES, GstFacts  # noqa: E402
from stream.gst.recording import find_window_sink  # noqa: E402
from stream.gst.session import element_exists, element_runs  # noqa: E402


def inspect_gst() -> GstFacts:
    """Look once. Codecs are opened for a moment: hardware ones exist on machines without the hardware."""
    elements = {name for row in PACKAGES for name in row.elements if element_exists(name)}
    typelibs = {name for row in PACKAGES for name in row.typelibs if _typelib_exists(name)}
    return GstFacts(
        version=".".join(str(number) for number in Gst.version()[:3]),
        parts=frozenset(elements | typelibs),
        encoder=_encoder(),
        h264_decoder=_decoder("265"),
        h265_decoder=_decoder("264"),
    )


def window_sink() -> str | None:
    """What would open a window on this machine's display; None: nothing can."""
    try:
        return find_window_sink()
    except OutputError:
        return None


def _typelib_exists(namespace: str) -> bool:
    try:
        gi.require_version(namespace, "1.0")
    except ValueError:
        return False
    return True


def _encoder() -> str | None:
    try:
        return pick_encoder(element_runs).element
    except MissingPartError:
        return None


def _decoder(other: str) -> str | None:
    """The first decoder of the table that runs and is not for the ``other`` codec alone."""
    names = (row.element for row in DECODERS)
    return next((name for name in names if other not in name and element_runs(name)), None)
