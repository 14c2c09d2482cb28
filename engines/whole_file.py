"""Files that appear under their names whole or not at all, and are there after a power cut."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
"""Mode of what only its owner reads."""
SUFFIX = ".tmp"
"""Of what a killed process leaves behind; hidden, beside the file that it was to become."""


STALE_S = 3600.0
"""Seconds without a byte after which a partial file has no writer any more."""
_FRONT_BYTES = 200
"""Of a partial file's name, from the name it is to have: the longest name allowed leaves no room for more."""
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES}
"""How shares say that their folders cannot be synced; EACCES: a folder that may be written but not listed."""


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """What is written takes the place of ``path`` at the end; when anything is raised, what was there stays.

    ``mode``: of the new file, less the umask. Of two who write at once the last one stays. What a killed writer of the
    same path left is cleared by a later one. Raises OSError.
    """
    _clear_stale(path)
    partial = path.with_name(f"{_front(path)}{secrets.token_hex(8)}{SUFFIX}")
    # a name that nobody foresees and that must be new: neither a planted link nor a left-over's mode comes into it
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """As ``replacing``, for what is at hand. Raises OSError."""
    with replacing(path, mode) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """What the folder lists is on the disk, where its file system has a way to say so. Raises OSError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _front(path: Path) -> str:
    """How the names of its partial files begin."""
    return f".{os.fsencode(path.name)[:_FRONT_BYTES].decode(errors='ignore')}."


def _clear_stale(path: Path) -> None:
    """Where the folder cannot be listed, or another one clears it at the same time, nothing is lost."""
    partial = re.compile(re.escape(_front(path)) + "[0-9a-f]{16}" + re.escape(SUFFIX))
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if partial.fullmatch(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_S:
                os.unlink(entry)
