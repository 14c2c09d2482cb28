"""Mails against a real SMTP server (aiosmtpd): what stands in them, whom they are sent to, and who is believed."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from pydantic import SecretStr

from stream.alerts.alert import AlertState
from stream.alerts.sender import NotSentError, RefusedError
from stream.alerts.senders.mail import MailSender, MailServer, Security, mail_of
from tests.stream.alerts.alert_parts import ALERT, alert_of, both_of
from tests.stream.alerts.receivers import certificate_of, free_port

GUARD, CHIEF = "guard@example.org", "chief@example.org"


class Postbox:
    """Takes mails, or answers as it is told."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.receivers: list[list[str]] = []
        self.on_mail, self.on_receiver = "250 OK", dict[str, str]()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        if address in self.on_receiver:
            return self.on_receiver[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.on_mail.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
            self.receivers.append(envelope.rcpt_tos)
        return self.on_mail


@contextmanager
def serving(box: Postbox, **more: Any) -> Iterator[int]:
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, server_hostname="localhost", **more)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def sender_at(port: int, security: Security = "none", *receivers: str, **more: Any) -> MailSender:
    server = MailServer("127.0.0.1", port, security, timeout_s=5, **more)
    return MailSender(server, "unmask@example.org", receivers or (GUARD,))


def test_a_mail_says_all_there_is_to_know_and_carries_nothing() -> None:
    box = Postbox()
    with serving(box) as port:
        sender_at(port, "none", GUARD, CHIEF).send(alert_of(evidence="20260102-door", message="größer als 7"))
    (mail,) = box.mails
    assert box.receivers == [[GUARD, CHIEF]]
    assert (mail["From"], mail["To"]) == ("unmask@example.org", f"{GUARD}, {CHIEF}")
    assert mail["Subject"] == "[unmask] critical firing: größer als 7"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert (mail.get_content_type(), mail.is_multipart()) == ("text/plain", False)
    text = mail.get_content().replace("\r\n", "\n")
    assert text.startswith("größer als 7\n")
    for line in ("stream: door", "track_id: 3", "fake_probability: 0.93", "began_at: 2023-11-14 22:13:20+00:00"):
        assert line in text
    assert "evidence: 20260102-door" in text


def test_both_mails_of_an_alert_lie_in_one_thread_and_a_repeat_is_known() -> None:
    first, over = (mail_of(alert, "unmask@example.org", [GUARD]) for alert in both_of("a1"))
    assert first["Message-ID"] == "<a1-firing@example.org>"
    assert (over["Message-ID"], over["In-Reply-To"]) == ("<a1-resolved@example.org>", "<a1-firing@example.org>")
    assert first["In-Reply-To"] is None


@pytest.mark.parametrize("message", ["x\nBcc: evil@example.org", "x\r\n\r\nbody", "a" * 5000])
def test_no_message_can_add_a_header(message: str) -> None:
    mail = mail_of(alert_of(message=message), "unmask@example.org", [GUARD])
    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("451 later", NotSentError),
        ("554 never", RefusedError),
        ("421 closing", NotSentError),
        ("552 full", RefusedError),
    ],
)
def test_5xx_is_a_refusal_and_4xx_passes(answer: str, kind: type[Exception]) -> None:
    box = Postbox()
    box.on_mail = answer
    with serving(box) as port, pytest.raises(kind, match=answer[:3]):
        sender_at(port).send(ALERT)


def test_receivers_that_are_all_refused_are_a_refusal_and_one_is_told() -> None:
    box = Postbox()
    box.on_receiver = {GUARD: "550 unknown"}
    with serving(box) as port:
        with pytest.raises(RefusedError, match=r"every receiver \(550\)"):
            sender_at(port).send(ALERT)
        box.on_receiver = {GUARD: "450 busy"}
        with pytest.raises(NotSentError, match="450"):
            sender_at(port).send(ALERT)


def test_a_mail_that_some_get_is_sent_and_the_others_are_said(caplog: pytest.LogCaptureFixture) -> None:
    box = Postbox()
    box.on_receiver = {GUARD: "550 unknown"}
    with serving(box) as port:
        sender_at(port, "none", GUARD, CHIEF).send(ALERT)
    assert box.receivers == [[CHIEF]]
    assert "1 of 2 receivers were refused" in caplog.text


def test_nobody_there_is_one_line() -> None:
    with pytest.raises(NotSentError, match=r"not reached \(Connection refused\)"):
        sender_at(free_port()).send(ALERT)


# Who is believed, and who is told the password


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, and one that believes it."""
    made, key = certificate_of(folder)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made, key)
    return server, ssl.create_default_context(cafile=str(made))


def knows(user: bytes, password: bytes) -> Any:
    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        is_right = (given.login, given.password) == (user, password)
        return AuthResult(success=is_right, handled=is_right)

    return check


def login_of(password: str) -> dict[str, Any]:
    return {"user": "unmask", "password": SecretStr(password)}


def test_starttls_is_asked_for_before_the_password_is_told(tmp_path: Path) -> None:
    theirs, ours = contexts(tmp_path)
    box = Postbox()
    needs = {"auth_required": True, "auth_require_tls": True, "authenticator": knows(b"unmask", b"r1ght")}
    with serving(box, tls_context=theirs, **needs) as port:
        sender_at(port, "starttls", context=ours, **login_of("r1ght")).send(ALERT)
        with pytest.raises(NotSentError, match="does not take user and password") as caught:
            sender_at(port, "starttls", context=ours, **login_of("wr0ng")).send(ALERT)
        assert "wr0ng" not in str(caught.value)
        with pytest.raises(NotSentError, match="certificate is not trusted"):
            sender_at(port, "starttls", **login_of("r1ght")).send(ALERT)
    assert len(box.mails) == 1


def test_a_server_without_starttls_is_told_nothing() -> None:
    box = Postbox()
    with serving(box) as port, pytest.raises(NotSentError, match="does not do as it should"):
        sender_at(port, "starttls", **login_of("r1ght")).send(ALERT)
    assert box.mails == []


def test_no_repr_shows_a_password() -> None:
    assert "r1ght" not in repr(vars(sender_at(25, "none", **login_of("r1ght"))))


def test_the_end_of_an_alert_is_a_mail_too() -> None:
    box = Postbox()
    with serving(box) as port:
        sender_at(port).send(alert_of("a1", AlertState.RESOLVED))
    assert box.mails[0]["Subject"].startswith("[unmask] critical resolved: ")
