"""What stands beside the pictures: the timeline, and the manifest that names everything with its hash. Pure."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from stream.alerts.alert import Alert, json_from_alert
from stream.evidence.folders import KeptFile
from stream.evidence.memory import FaceMoment, Moment

SCHEMA = 1
CLOCK_UNSYNCHRONISED = 5
"""What adjtimex(2) returns when nothing keeps the clock right."""
TIMEX_BYTES = 512
"""Larger than its structure on any machine."""


@dataclass(frozen=True)
class Missing:
    """Something that belongs to an alert's evidence and is not there."""

    what: str
    """A file's kind."""
    why: str
    """In words for people."""


def timeline_json(alert: Alert, moments: Sequence[Moment], crops: Mapping[str, int]) -> dict[str, Any]:
    """``crops``: a face picture's file name -> its media time in nanoseconds."""
    return {
        "schema": SCHEMA,
        "stream": alert.stream,
        "track": alert.track_id,
        "crops": [{"name": name, "pts_ns": pts_ns} for name, pts_ns in crops.items()],
        "moments": [_moment_json(moment) for moment in moments],
    }


def manifest_json(
    alert: Alert,
    folder: str,
    files: Sequence[KeptFile],
    missing: Sequence[Missing],
    facts: Mapping[str, Any],
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """``facts``: of the program and the machine; ``details``: of single files, by kind."""
    return {
        "schema": SCHEMA,
        "folder": folder,
        "alert": json_from_alert(alert),
        "files": [file.as_json() for file in files],
        "missing": [asdict(one) for one in missing],
        **facts,
        **details,
    }


def clock_facts() -> dict[str, Any]:
    """What this machine's clock says of itself now."""
    now = time.time()
    return {
        "wall": now,
        "utc": datetime.fromtimestamp(now, timezone.utc).isoformat(),
        "monotonic_ns": time.monotonic_ns(),
        "is_synchronised": _is_synchronised(),
    }


def _is_synchronised() -> bool | None:
    """Whether the kernel is told the right time by somebody; None where it does not say."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))  # all zero: only asks
    except (OSError, AttributeError):
        return None
    return None if state < 0 else bool(state != CLOCK_UNSYNCHRONISED)


def _moment_json(moment: Moment) -> dict[str, Any]:
    faces = [_face_json(face) for face in moment.faces]
    return {"at": moment.at, "pts_ns": moment.pts_ns, "state": moment.state.value, "faces": faces}


def _face_json(face: FaceMoment) -> dict[str, Any]:
    return {
        "track": face.track_id,
        "box": [round(value, 1) for value in face.xyxy],
        "verdict": face.verdict.value,
        "fake_probability": face.fake_probability,
        "reason": None if face.reason is None else face.reason.value,
        "mask": "".join("1" if filled else "0" for filled in face.slots),
    }
