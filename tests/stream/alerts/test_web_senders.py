"""Webhook and Alertmanager against real servers: what they say, whom they trust, and what they never show."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stream.alerts.alert import Alert, AlertState
from stream.alerts.message import encoded
from stream.alerts.sender import NotSentError, RefusedError
from stream.alerts.senders.alertmanager import AlertmanagerSender, postable
from stream.alerts.senders.http_post import HttpPost
from stream.alerts.senders.webhook import WebhookSender
from tests.stream.alerts.alert_parts import ALERT, WALL_S, alert_of, both_of
from tests.stream.alerts.receivers import WebReceiver, certificate_of, free_port, running, wait_until

SECRET = SecretStr("correct horse")
TOKEN = SecretStr("s3cret-token")


def post_to(url: str, **more: Any) -> HttpPost:
    return HttpPost(SecretStr(url), timeout_s=2, **more)


def is_genuine(secret: str, headers: dict[str, str], body: bytes, now_s: float) -> bool:
    """What a receiver does; the five lines of docs/alerts.md."""
    timestamp = headers["X-Unmask-Timestamp"]
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    is_ours = hmac.compare_digest(f"sha256={signed}", headers["X-Unmask-Signature"])
    return is_ours and abs(now_s - int(timestamp)) < 300


# Webhook


def test_a_webhook_is_sent_the_alert_signed_with_its_time() -> None:
    with WebReceiver() as receiver:
        WebhookSender(post_to(receiver.url), SECRET, wall_clock=lambda: 1_700_000_000.9).send(ALERT)
        (post,) = receiver.posts
    assert post.body == encoded(ALERT)
    assert post.path == "/hook?token=s3cret"
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["Idempotency-Key"] == "a1-firing"
    headers = dict(post.headers)
    assert headers["X-Unmask-Timestamp"] == "1700000000"
    assert is_genuine("correct horse", headers, post.body, 1_700_000_010)
    assert not is_genuine("wrong", headers, post.body, 1_700_000_010)
    assert not is_genuine("correct horse", headers, post.body + b" ", 1_700_000_010)
    assert not is_genuine("correct horse", headers, post.body, 1_700_009_999)
    assert not is_genuine("correct horse", {**headers, "X-Unmask-Timestamp": "1700009999"}, post.body, 1_700_009_999)


def test_without_a_secret_nothing_is_signed() -> None:
    with WebReceiver() as receiver:
        WebhookSender(post_to(receiver.url)).send(ALERT)
        assert "X-Unmask-Signature" not in receiver.posts[0].headers
        assert "Authorization" not in receiver.posts[0].headers


def test_a_token_travels_as_a_bearer() -> None:
    with WebReceiver() as receiver:
        WebhookSender(post_to(receiver.url, token=TOKEN)).send(ALERT)
        assert receiver.posts[0].headers["Authorization"] == "Bearer s3cret-token"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_an_answer_that_will_stay_so_is_a_refusal(status: int) -> None:
    with WebReceiver(status=status) as receiver, pytest.raises(RefusedError, match=f"it answered {status}"):
        WebhookSender(post_to(receiver.url)).send(ALERT)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_may_pass_is_tried_again(status: int) -> None:
    with (
        WebReceiver(status=status, headers={"Retry-After": "7"}) as receiver,
        pytest.raises(NotSentError, match=f"it answered {status}") as caught,
    ):
        WebhookSender(post_to(receiver.url)).send(ALERT)
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("said", ["", "soon", "-3", "Wed, 21 Oct 2026 07:28:00 GMT", "٣"])
def test_a_wait_that_is_no_number_of_seconds_is_none(said: str) -> None:
    headers = {"Retry-After": said.encode().decode("latin-1")}
    with WebReceiver(status=503, headers=headers) as receiver, pytest.raises(NotSentError) as caught:
        WebhookSender(post_to(receiver.url)).send(ALERT)
    assert caught.value.retry_after_s == 0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with WebReceiver() as other, WebReceiver(status=status, headers={"Location": other.url}) as receiver:
        with pytest.raises(NotSentError, match="redirects are not followed"):
            WebhookSender(post_to(receiver.url), SECRET).send(ALERT)
        assert other.posts == []


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebReceiver() as proxy, WebReceiver() as receiver:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        WebhookSender(post_to(receiver.url)).send(ALERT)
        assert (len(receiver.posts), len(proxy.posts)) == (1, 0)


def speak(words: bytes) -> int:
    """A server that says ``words`` to one connection, and hangs up; its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with closing(server):
            connection, _ = server.accept()
            with closing(connection):
                connection.recv(65_536)
                connection.sendall(words)

    threading.Thread(target=answer, daemon=True).start()
    return int(server.getsockname()[1])


NO_ANSWERS = (b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200" + b"x" * 99_999)


@pytest.mark.parametrize("words", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
def test_whatever_answers_it_is_one_line_without_the_address(words: bytes) -> None:
    with pytest.raises(NotSentError) as caught:
        WebhookSender(post_to(f"http://127.0.0.1:{speak(words)}/hook?token=s3cret"), SECRET).send(ALERT)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_server_that_is_silent_is_given_up_in_time() -> None:
    with WebReceiver() as receiver:
        receiver.pause.clear()
        with pytest.raises(NotSentError, match=r"no answer in 0\.2 s"):
            WebhookSender(HttpPost(SecretStr(receiver.url), timeout_s=0.2)).send(ALERT)


def test_nobody_there_is_one_line_without_the_address() -> None:
    with pytest.raises(NotSentError, match=r"not reached \(Connection refused\)") as caught:
        WebhookSender(post_to(f"http://127.0.0.1:{free_port()}/?token=s3cret")).send(ALERT)
    assert "s3cret" not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_told_nothing(tmp_path: Path) -> None:
    made, key = certificate_of(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    with WebReceiver() as receiver:
        assert receiver._server is not None
        receiver._server.socket = context.wrap_socket(receiver._server.socket, server_side=True)
        url = f"https://127.0.0.1:{receiver.port}/"
        with pytest.raises(NotSentError, match="its certificate is not trusted"):
            WebhookSender(post_to(url), SECRET).send(ALERT)
        assert receiver.posts == []
        WebhookSender(post_to(url, context=ssl.create_default_context(cafile=str(made))), SECRET).send(ALERT)
        assert len(receiver.posts) == 1


def test_no_repr_shows_a_secret() -> None:
    sender = WebhookSender(post_to("https://example.org/s3cret", token=TOKEN), SECRET)
    shown = repr([vars(sender), vars(sender._post)])
    assert [word for word in ("s3cret", "correct", "token-") if word in shown] == []


# Alertmanager


def test_labels_tell_alerts_apart_and_annotations_tell_people() -> None:
    assert postable(alert_of(evidence="20260102-door"), WALL_S + 240) == {
        "labels": {"alertname": "swapped", "kind": "fake", "severity": "critical", "stream": "door", "track": "3"},
        "annotations": {
            "summary": "face 3 on door has been fake for 3 s",
            "id": "a1",
            "fake_probability": "0.9300",
            "model": "lite0-gru",
            "backend": "onnxruntime-cpu",
            "evidence": "20260102-door",
        },
        "startsAt": "2023-11-14T22:13:20.000+00:00",
        "endsAt": "2023-11-14T22:17:20.000+00:00",
    }


def test_an_alert_that_is_over_ended_when_it_did() -> None:
    _, over = both_of("a1")
    assert postable(over, WALL_S + 240)["endsAt"] == "2023-11-14T22:13:29.000+00:00"


def test_what_fires_is_said_again_until_it_is_over() -> None:
    with WebReceiver(status=200) as receiver:
        sender = AlertmanagerSender(post_to(receiver.url), repeat_s=60, wall_clock=lambda: WALL_S)
        sender.refresh([])
        assert receiver.posts == []
        sender.send(alert_of("a"))
        sender.send(alert_of("b", rule="other"))
        sender.refresh([])
        sender.send(alert_of("a", AlertState.RESOLVED))
        sender.refresh([])
    told = [[alert["annotations"]["id"] for alert in post.json] for post in receiver.posts]
    assert told == [["a"], ["b"], ["a", "b"], ["a"], ["b"]]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    (folder / "config.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    words = (f"--config.file={folder / 'config.yml'}", f"--storage.path={folder / 'data'}", "--cluster.listen-address=")
    listen = f"--web.listen-address=127.0.0.1:{port}"
    with running("prometheus-alertmanager", *words, listen, port=port):
        yield f"http://127.0.0.1:{port}"


def alerts_of(manager: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{manager}/api/v2/alerts", timeout=10) as answer:
        return {alert["annotations"]["id"]: alert for alert in json.load(answer)}


def test_a_real_alertmanager_shows_what_fires_and_forgets_what_is_over(manager: str) -> None:
    sender = AlertmanagerSender(post_to(f"{manager}/api/v2/alerts"))
    firing: list[Alert] = [alert_of(name, rule=name, began_at=time.time()) for name in ("first", "second")]
    for alert in firing:
        sender.send(alert)
    wait_until(lambda: {"first", "second"} <= alerts_of(manager).keys(), "both alerts")
    shown = alerts_of(manager)["first"]
    assert shown["labels"]["stream"] == "door"
    assert shown["status"]["state"] in ("active", "unprocessed")
    sender.refresh([])
    sender.send(alert_of("first", AlertState.RESOLVED, rule="first", changed_at=time.time()))
    wait_until(lambda: "first" not in alerts_of(manager), "the end of the first")
    assert "second" in alerts_of(manager)


def test_a_real_alertmanager_refuses_what_is_no_alert(manager: str) -> None:
    with pytest.raises(RefusedError, match="it answered 4"):
        post_to(f"{manager}/api/v2/alerts")(b'[{"labels": 3}]', {})
