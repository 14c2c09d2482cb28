"""The key that signs the log: Ed25519 (RFC 8032), in a file that only its owner may read."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from stream.errors import OutputError, UsageError

LARGEST_KEY_FILE = 1 << 14


class PublicKey:
    """Tells whether a signature is the key's."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @property
    def raw(self) -> bytes:
        """32 bytes."""
        return self._key.public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key as ssh writes it: short enough to be kept on paper."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.raw).digest()).decode().rstrip("=")

    def to_pem(self) -> bytes:
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def has_signed(self, text: bytes, signature: str) -> bool:
        """``signature``: base64; anything else is a wrong one."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), text)
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """The private half. No text made from it shows it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    def sign(self, text: bytes) -> str:
        """Base64."""
        return base64.b64encode(self._key.sign(text)).decode()


def open_key(path: Path) -> SigningKey:
    """The key at ``path``; made, in a file of mode 600, when there is none. Raises OutputError."""
    try:
        if not path.exists():
            _make_key(path)
    except OSError as error:
        raise _unusable(path, error) from None
    return read_key(path)


def read_key(path: Path) -> SigningKey:
    """The key at ``path``, which must be there. Raises OutputError."""
    try:
        _refuse_readable(path)
        key = load_pem_private_key(_content(path), password=None)
    except OSError as error:
        raise _unusable(path, error) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise OutputError(f"{path} holds no Ed25519 key of this program: set evidence.key to another file") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise OutputError(f"{path} holds another kind of key, not Ed25519: set evidence.key to another file")
    return SigningKey(key)


def read_public_key(path: Path) -> PublicKey:
    """Raises UsageError when the file holds none."""
    try:
        key = load_pem_public_key(_content(path))
    except OSError as error:
        raise UsageError(f"the public key {path} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} holds no Ed25519 public key: give a copy of the log's {path.name}")
    return PublicKey(key)


def default_key_path() -> Path:
    """Away from what it signs: ``$XDG_DATA_HOME/unmask/keys/log.pem``."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "unmask" / "keys" / "log.pem"


def _make_key(path: Path) -> None:
    """Complete or not at all; of two processes that make one at once, one wins and both use it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(pem)
            opened.flush()
            os.fsync(file)
        os.link(partial, path)
    except FileExistsError:
        pass  # the other one's
    finally:
        partial.unlink(missing_ok=True)


def _unusable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"the log's key {path} cannot be used ({error.strerror}): set evidence.key")


def _refuse_readable(path: Path) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise OutputError(f"others may read the log's key: chmod 600 {path}")


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_KEY_FILE)
