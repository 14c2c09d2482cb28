"""``unmask purge``: evidence deleted because somebody asks, and said so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from stream.errors import OutputError, UsageError
from stream.evidence.folders import KeptFolder, alert_id_in, kept, unfinished
from stream.evidence.retention import Record, Wish, delete, wished


def purge(root: Path, wish: Wish, now: float, record: Record, *, is_rehearsal: bool = False) -> list[KeptFolder]:
    """Delete what is wished, oldest first; what was deleted, or would be in a rehearsal. ``now``: wall time.

    What a running watch has not written yet goes too. Each is recorded before it goes. Raises UsageError when nothing
    is named or there is no such folder, and OutputError when one cannot be deleted.
    """
    _check(root, wish)
    try:
        there = {folder.name: folder for folder in (*unfinished(root), *kept(root))}
        folders = sorted(there.values(), key=lambda folder: (folder.at, folder.name))
        chosen = wished(folders, wish, now, partial(alert_id_in, root))
        return chosen if is_rehearsal else delete(root, chosen, record, "asked for")
    except OSError as error:
        where = error.filename or root
        raise OutputError(f"evidence cannot be deleted ({where}: {error.strerror}): see to its permissions") from error


def lines_of(folders: list[KeptFolder], *, is_rehearsal: bool) -> list[str]:
    """What to tell people."""
    verb = "would delete" if is_rehearsal else "deleted"
    total = sum(folder.size for folder in folders)
    count = f"the evidence of {len(folders)} alert{'s' if len(folders) != 1 else ''}"
    return [
        *(f"{verb} {folder.name} ({_size_words(folder)})" for folder in folders),
        f"{verb} {count}, {_mebibytes(total)}",
    ]


def handed_in_line(log_folder: Path) -> str:
    """Where the log is another's to write."""
    return (
        f"the log in {log_folder} does not say so yet: that is handed in, for the watch that signs this log to write "
        "now, or at its next start"
    )


def _check(root: Path, wish: Wish) -> None:
    if wish == Wish():
        raise UsageError("name what to delete: --older-than DAYS, --stream NAME, --alert ID, or --all")
    if wish.takes_all and wish != Wish(takes_all=True):
        raise UsageError("--all deletes everything: leave out the other choices, or leave out --all")
    if not root.is_dir():
        raise UsageError(f"there is no evidence folder at {root}: check --folder or evidence.folder")


def _size_words(folder: KeptFolder) -> str:
    return _mebibytes(folder.size) if folder.is_whole else "not written yet"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
