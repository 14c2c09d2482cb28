"""Scores as JSON lines: one object for each newly scored window, whole lines only."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stream.errors import OutputError
from stream.types import FaceScore, Scene, StreamName, TrackId

REMEMBERED_TRACKS = 4096
LINE_START = b'{"stream":'
"""What every line begins with: see score_record."""
BLOCK_BYTES = 1 << 16


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class JsonLinesSink:
    """Appends to ``path``. Each line is written at once and whole: whenever the process dies, the file is valid.

    Used by one thread. Raises OutputError when the file cannot be opened or is another kind of file, or a line cannot
    be written; the file then ends with its last whole line.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = _utc_now) -> None:
        self._path = path
        self._now = now
        self._written: OrderedDict[tuple[StreamName, TrackId], int] = OrderedDict()
        try:
            self._file = _opened(path)
        except OSError as error:
            raise OutputError(f"cannot write scores to {path}: {error.strerror}; choose another file") from error
        self._is_open = True

    def publish(self, scene: Scene) -> None:
        """Write a line for each face of the scene whose window was scored since the last scene."""
        fresh = [face for face in scene.faces if self._is_new(scene.stream, face)]
        if fresh and self._is_open:
            time = self._now().isoformat(timespec="milliseconds")
            self._append("".join(_line(scene, face, time) for face in fresh).encode())

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._file)

    def _is_new(self, stream: StreamName, face: FaceScore) -> bool:
        key = (stream, face.track_id)
        if face.scored_pts_ns is None or self._written.get(key) == face.scored_pts_ns:
            return False
        self._written[key] = face.scored_pts_ns
        self._written.move_to_end(key)
        if len(self._written) > REMEMBERED_TRACKS:
            self._written.popitem(last=False)
        return True

    def _append(self, lines: bytes) -> None:
        """A write a line, for a kill may cut a write at a page's end; what a full disk cut short is taken back."""
        size = os.fstat(self._file).st_size
        try:
            if any(os.write(self._file, line) < len(line) for line in lines.splitlines(keepends=True)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if _is_regular(self._file):
                os.ftruncate(self._file, size)
            raise OutputError(f"scores are no longer written to {self._path}: {error.strerror}") from error


def _opened(path: Path) -> int:
    """A descriptor that appends whole lines. Raises OSError, and OutputError for a file of another kind."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        _cut_to_whole_lines(file, path)
    except (OSError, OutputError):
        os.close(file)
        raise
    return file


def _is_regular(file: int) -> bool:
    """False for pipes and devices: they cannot be cut."""
    return stat.S_ISREG(os.fstat(file).st_mode)


def _cut_to_whole_lines(file: int, path: Path) -> None:
    """An earlier run's file loses the half line that it may end with; any other file stays as it is.

    Raises OutputError when what would be cut is not the beginning of a score line.
    """
    if not _is_regular(file):
        return
    size, end = os.fstat(file).st_size, _end_of_whole_lines(file)
    if end == size:
        return
    if not _begins_a_line(os.pread(file, len(LINE_START), end)):
        raise OutputError(f"cannot add scores to {path}: it does not look like score lines; name another file")
    os.ftruncate(file, end)


def _end_of_whole_lines(file: int) -> int:
    """Bytes up to and with the last line end, read backwards in blocks; 0 without one."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - BLOCK_BYTES)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _begins_a_line(tail: bytes) -> bool:
    """Whether a dying process could have left ``tail`` of a line, be it one byte."""
    return tail == LINE_START[: len(tail)]


def _line(scene: Scene, face: FaceScore, time: str) -> str:
    return json.dumps(score_record(scene, face, time), separators=(",", ":"), allow_nan=False) + "\n"


def score_record(scene: Scene, face: FaceScore, time: str) -> dict[str, Any]:
    """What one line says; docs/operating.md explains the keys to users."""
    scored_pts_ns = face.scored_pts_ns or 0
    return {
        "stream": scene.stream,
        "track_id": int(face.track_id),
        "pts_s": round(scored_pts_ns / 1e9, 3),
        "time": time,
        "box": [round(float(value), 1) for value in face.xyxy],
        "verdict": face.verdict.value,
        "fake_probability": None if face.fake_probability is None else round(float(face.fake_probability), 4),
        "reason": face.reason.value if face.reason else None,
        "samples": sum(face.slots),
        "slots": len(face.slots),
        "model": scene.model,
        "backend": scene.backend,
    }
