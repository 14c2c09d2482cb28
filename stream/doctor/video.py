"""GStreamer: its bindings, its packages, and the codecs that are used here."""

from __future__ import annotations

from pathlib import Path

from stream.doctor.finding import Finding, Status, lack
from stream.gst.packages import PACKAGES, GstFacts, PackageRow

GROUP = "Video"
SYSTEM_GI = Path("/usr/lib/python3/dist-packages/gi")
BINDINGS = "python3-gi python3-gst-1.0 gir1.2-gst-plugins-base-1.0"
LIBAV = "sudo apt install gstreamer1.0-libav"
X264 = "sudo apt install gstreamer1.0-plugins-ugly"


def examine() -> list[Finding]:
    try:
        from stream.gst.inspect import inspect_gst
    except (ImportError, ValueError) as error:  # ValueError: gi's word for a namespace that is not there
        return [bindings_finding(error, SYSTEM_GI)]
    return gst_findings(inspect_gst())


def bindings_finding(error: Exception, system_gi: Path) -> Finding:
    """Python cannot load GStreamer: the bindings are missing, or this environment does not see ``system_gi``."""
    if isinstance(error, ImportError) and system_gi.is_dir():
        detail = "installed, but this virtual environment does not see the system's packages"
        return Finding(GROUP, "GStreamer for Python", Status.MISSING, detail, "make demo  (it repairs .venv)")
    return Finding(GROUP, "GStreamer for Python", Status.MISSING, str(error), f"sudo apt install {BINDINGS}")


def gst_findings(facts: GstFacts) -> list[Finding]:
    return [
        Finding(GROUP, "GStreamer", Status.FOUND, facts.version),
        *(package_finding(row, facts.parts) for row in PACKAGES),
        _codec("H.264 encoder", facts.encoder, X264, is_needed=True),
        _codec("H.264 decoder", facts.h264_decoder, LIBAV, is_needed=True),
        _codec("H.265 decoder", facts.h265_decoder, LIBAV, is_needed=False),
    ]


def package_finding(row: PackageRow, there: frozenset[str]) -> Finding:
    """One system package, judged by the parts it brings."""
    lacking = [part for part in row.parts if part not in there]
    if not lacking:
        return Finding(GROUP, row.package, Status.FOUND, row.brings)
    detail = f"{row.brings}: no {', '.join(lacking)}"
    return Finding(GROUP, row.package, lack(is_needed=row.is_needed), detail, f"sudo apt install {row.package}")


def _codec(what: str, element: str | None, mend: str, *, is_needed: bool) -> Finding:
    if element is not None:
        return Finding(GROUP, what, Status.FOUND, f"{element} is used")
    return Finding(GROUP, what, lack(is_needed=is_needed), "none", mend)
