"""An alert as a signed JSON body to a web address."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Collection

from pydantic import SecretStr

from stream.alerts.alert import Alert
from stream.alerts.message import encoded, key_of
from stream.alerts.senders.http_post import HttpPost
from stream.types import StreamName


class WebhookSender:
    """Signs time and body, so that neither a changed nor a replayed message passes."""

    refresh_s = None

    def __init__(
        self, post: HttpPost, secret: SecretStr | None = None, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """``secret``: shared with the receiver; None signs nothing."""
        self._post, self._secret, self._wall_clock = post, secret, wall_clock

    def send(self, alert: Alert) -> None:
        body = encoded(alert)
        self._post(body, {"Idempotency-Key": key_of(alert), **self._signature(body)})

    def refresh(self, streams: Collection[StreamName]) -> None:
        """Nothing is forgotten."""

    def close(self) -> None:
        """Nothing is open."""

    def _signature(self, body: bytes) -> dict[str, str]:
        if self._secret is None:
            return {}
        timestamp = str(int(self._wall_clock()))
        signed = signature_of(self._secret.get_secret_value().encode(), timestamp, body)
        return {"X-Unmask-Timestamp": timestamp, "X-Unmask-Signature": signed}


def signature_of(secret: bytes, timestamp: str, body: bytes) -> str:
    """``sha256=`` and the HMAC-SHA256 (RFC 2104) of ``timestamp.body``."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
