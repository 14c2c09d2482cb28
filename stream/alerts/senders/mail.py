"""An alert as a plain mail by SMTP; nothing is attached, for a mail is read by many."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal

from pydantic import SecretStr

from stream.alerts.alert import Alert, AlertState
from stream.alerts.message import json_of, key_of
from stream.alerts.sender import NotSentError, RefusedError
from stream.types import StreamName

log = logging.getLogger(__name__)

Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed in."""

    host: str
    port: int
    security: Security
    user: str | None = field(default=None, repr=False)
    password: SecretStr | None = None
    context: ssl.SSLContext | None = None
    """None takes Python's own, which verifies the server."""
    timeout_s: float = 15.0


class MailSender:
    """A connection for each mail: alerts are rare and servers hang up."""

    refresh_s = None

    def __init__(self, server: MailServer, sender: str, receivers: Sequence[str]) -> None:
        self._server, self._sender, self._receivers = server, sender, tuple(receivers)

    def send(self, alert: Alert) -> None:
        try:
            refused = self._hand_in(mail_of(alert, self._sender, self._receivers))
        except smtplib.SMTPAuthenticationError as error:  # a mistake of ours, not of the message's
            raise NotSentError(f"the mail server does not take user and password ({error.smtp_code})") from None
        except smtplib.SMTPRecipientsRefused as error:
            raise _of_codes([code for code, _ in error.recipients.values()], "every receiver") from None
        except smtplib.SMTPResponseException as error:
            raise _of_codes([error.smtp_code], "the mail") from None
        except smtplib.SMTPException as error:
            raise NotSentError(f"the mail server does not do as it should ({type(error).__name__})") from None
        except ssl.SSLCertVerificationError as error:
            raise NotSentError(f"its certificate is not trusted ({error.verify_message})") from None
        except OSError as error:
            raise NotSentError(f"not reached ({error.strerror or type(error).__name__})") from None
        if refused:
            log.error("alert mail: %d of %d receivers were refused", len(refused), len(self._receivers))

    def refresh(self, streams: Collection[StreamName]) -> None:
        """Nothing is forgotten."""

    def close(self) -> None:
        """Nothing is open."""

    def _hand_in(self, mail: EmailMessage) -> dict[str, tuple[int, bytes]]:
        """Whatever goes wrong in saying goodbye: the mail is taken by then, and must not be sent again."""
        smtp = self._connected()
        try:
            refused = smtp.send_message(mail)
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
        finally:
            smtp.close()
        return refused

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        context = server.context or ssl.create_default_context()
        if server.security == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=server.timeout_s, context=context)
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=server.timeout_s)
        try:
            if server.security == "starttls":
                smtp.starttls(context=context)
            if server.user is not None and server.password is not None:
                smtp.login(server.user, server.password.get_secret_value())
        except Exception:
            smtp.close()
            raise
        return smtp


def _of_codes(codes: Sequence[int], what: str) -> NotSentError | RefusedError:
    """5xx stays as it is, anything else may pass (RFC 5321, 4.2.1)."""
    told = ", ".join(map(str, sorted(set(codes))))
    if codes and all(500 <= code < 600 for code in codes):
        return RefusedError(f"the mail server refuses {what} ({told})")
    return NotSentError(f"the mail server does not take {what} now ({told})")


def mail_of(alert: Alert, sender: str, receivers: Sequence[str]) -> EmailMessage:
    """Both mails of an alert lie in one thread; one that is sent twice has the same Message-ID."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, ", ".join(receivers)
    mail["Subject"] = " ".join(f"[unmask] {alert.severity.value} {alert.state.value}: {alert.message}".split())
    mail["Date"] = format_datetime(datetime.fromtimestamp(alert.changed_at, timezone.utc))
    mail["Message-ID"] = _message_id(key_of(alert), sender)
    mail["Auto-Submitted"] = "auto-generated"
    if alert.state is AlertState.RESOLVED:
        mail["In-Reply-To"] = _message_id(f"{alert.id}-{AlertState.FIRING.value}", sender)
    mail.set_content(_text(alert))
    return mail


def _message_id(key: str, sender: str) -> str:
    return f"<{key}@{sender.rpartition('@')[2].strip('<> ') or 'unmask'}>"


def _text(alert: Alert) -> str:
    at = {"began_at": alert.began_at, "changed_at": alert.changed_at}
    times = {key: datetime.fromtimestamp(value, timezone.utc).isoformat(" ", "seconds") for key, value in at.items()}
    facts = {key: value for key, value in {**json_of(alert), **times}.items() if value not in (None, "", alert.message)}
    return "\n".join([alert.message, "", *(f"{key}: {value}" for key, value in facts.items())]) + "\n"
