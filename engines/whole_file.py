"""Files that appear under their names whole or not at all, and are there after a power cut."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
"""Mode of what only its owner reads."""
SUFFIX = ".tmp"
"""Of what a killed process leaves behind; hidden, beside the file that it was to become."""


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """What is written takes the place of ``path`` at the end; when anything is raised, what was there stays.

    ``mode``: of the new file, less the umask. Of two who write at once the last one stays. Raises OSError.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}{SUFFIX}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
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
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # fsync(2): this kind of file does not support it; some shares' folders
            raise
    finally:
        os.close(descriptor)
