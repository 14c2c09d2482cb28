"""The certificate that the page shows, and what TLS it speaks."""

from __future__ import annotations

import ssl

from stream.config_web import TlsConfig
from stream.errors import UsageError


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """TLS 1.2 with forward secrecy, or 1.3. Raises UsageError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(config.certificate, config.key, password=_no_passphrase)
    except OSError as error:  # SSLError is one
        reason = error.strerror if not isinstance(error, ssl.SSLError) else error.reason or "not PEM"
        raise UsageError(
            f"web.tls: {config.certificate} and {config.key} cannot be used ({reason}): give a PEM certificate and its "
            "key without a passphrase"
        ) from None
    return context


def _no_passphrase() -> str:
    """Asked for one, the library would wait at the terminal."""
    raise UsageError("web.tls: the key has a passphrase: give it without one, readable by this program's user only")
