"""What other processes hand to the one that writes the log: believed only with a signature of the log's own key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stream.evidence.chain_line import HANDED_IN, JSON, LARGEST_HANDED_IN, MOST_HANDED_IN, PURGE, canonical
from stream.evidence.signing import PublicKey, SigningKey

MAY_BE_HANDED_IN = (PURGE,)


@dataclass(frozen=True)
class HandedIn:
    """One record that waits to be written."""

    path: Path
    kind: str
    record: dict[str, JSON]
    signature: str
    """Base64; empty for none."""
    sha256: str
    """Of the whole file."""

    def is_signed_by(self, key: PublicKey) -> bool:
        try:
            return key.has_signed(_signed_text(self.kind, self.record), self.signature)
        except (ValueError, TypeError, RecursionError):  # nothing that this program writes
            return False


def sealed(kind: str, record: dict[str, JSON], key: SigningKey) -> bytes:
    """The file that hands a record in. Raises TypeError or ValueError for what JSON cannot say."""
    return canonical({"kind": kind, "record": record, "signature": key.sign(_signed_text(kind, record))})


def handed_in(folder: Path) -> Iterator[HandedIn]:
    """Signed or not, oldest first, from a log's folder; what is no record that may be handed in is passed over."""
    for path in sorted((folder / HANDED_IN).glob("[0-9]*.json"))[:MOST_HANDED_IN]:
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_HANDED_IN:
                continue
            content = path.read_bytes()
            given = json.loads(content)
            kind, record, signature = given["kind"], given["record"], given.get("signature")
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if kind in MAY_BE_HANDED_IN and isinstance(record, dict):
            signature = signature if isinstance(signature, str) else ""
            yield HandedIn(path, kind, record, signature, hashlib.sha256(content).hexdigest())


def vouched(kind: str, record: Mapping[str, JSON], key: SigningKey) -> dict[str, JSON]:
    """The record as the log keeps it, with its own signature: a chain of hashes alone is made without a key.

    Raises TypeError or ValueError for what JSON cannot say.
    """
    return {**record, "signature": key.sign(_signed_text(kind, dict(record)))}


def is_vouched(kind: str, record: Mapping[str, JSON], key: PublicKey) -> bool:
    """Of a record from a line of the log."""
    bare = {name: value for name, value in record.items() if name != "signature"}
    return key.has_signed(_signed_text(kind, bare), str(record.get("signature")))


def _signed_text(kind: str, record: dict[str, JSON]) -> bytes:
    """Begins unlike what signs the log's lines: neither signature passes for the other."""
    return b"unmask handed in 1\n" + canonical({"kind": kind, "record": record}) + b"\n"
