"""One POST: TLS is verified, no redirect is followed, no proxy is asked, and no error shows the address or a token."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr

from stream.alerts.sender import NotSentError, RefusedError

READ_BYTES = 65_536
"""Of an answer; nobody needs more."""
TRY_AGAIN = (408, 425, 429)
"""Of the 4xx those that say nothing against the message."""


class HttpPost:
    """Posts to one address. Used by one thread; a connection lasts for one request."""

    def __init__(
        self,
        url: SecretStr,
        *,
        context: ssl.SSLContext | None = None,
        token: SecretStr | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """``url``: may hold secrets in its path. ``token``: sent as a bearer. ``context``: None takes Python's own."""
        self._url, self._context, self._token, self._timeout_s = url, context, token, timeout_s

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Returns when the answer is 2xx. Raises RefusedError for an answer that will stay so, else NotSentError."""
        connection = self._connection()
        try:
            connection.request("POST", self._target(), body, {**self._own_headers(), **headers})
            answer = connection.getresponse()
            answer.read(READ_BYTES)
        except ssl.SSLCertVerificationError as error:
            raise NotSentError(f"its certificate is not trusted ({error.verify_message})") from None
        except TimeoutError:
            raise NotSentError(f"no answer in {self._timeout_s:g} s") from None
        except OSError as error:
            raise NotSentError(f"not reached ({error.strerror or type(error).__name__})") from None
        except (http.client.HTTPException, ValueError) as error:  # their texts may hold the address
            raise NotSentError(f"no answer of a web server ({type(error).__name__})") from None
        finally:
            connection.close()
        _judge(answer.status, answer.getheader("Retry-After", ""))

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._url.get_secret_value())
        host, port = parts.hostname or "", parts.port
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        context = self._context or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)

    def _target(self) -> str:
        parts = urlsplit(self._url.get_secret_value())
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _own_headers(self) -> dict[str, str]:
        bearer = {} if self._token is None else {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        return {"Content-Type": "application/json", "User-Agent": "unmask", **bearer}


def _judge(status: int, retry_after: str) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise NotSentError(f"it answered {status}: redirects are not followed, give the address where it leads")
    if 400 <= status < 500 and status not in TRY_AGAIN:
        raise RefusedError(f"it answered {status}")
    retry_after_s = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
    raise NotSentError(f"it answered {status}", retry_after_s=retry_after_s)
