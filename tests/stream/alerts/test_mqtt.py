"""MQTT against a real Mosquitto: what is retained, what Home Assistant is told, and a broker that dies and returns."""

from __future__ import annotations

import json
import secrets
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import SecretStr

from stream.alerts.alert import AlertState
from stream.alerts.message import json_of
from stream.alerts.sender import NotSentError
from stream.alerts.senders.mqtt import Broker, MqttSender, object_id
from stream.alerts.trial import try_sink
from stream.config_alerts import AlertsConfig
from stream.types import StreamName
from tests.stream.alerts.alert_parts import alert_of
from tests.stream.alerts.receivers import certificate_of, free_port, running, wait_until
from tests.stream.alerts.test_outbox import opened

DOOR, YARD = StreamName("door"), StreamName("yard")


@contextmanager
def mosquitto(folder: Path, port: int, *lines: str) -> Iterator[subprocess.Popen[bytes]]:
    """Forgets everything when it ends. Run by root it would become another user, who may not read the test's files."""
    config = folder / f"mosquitto-{port}.conf"
    forgets = [] if any(line.startswith("persistence") for line in lines) else ["persistence false"]
    allowed = [] if any(line.startswith("password_file") for line in lines) else ["allow_anonymous true"]
    config.write_text("\n".join([f"listener {port} 127.0.0.1", "user root", *forgets, *allowed, *lines]) + "\n")
    with running("mosquitto", "-c", config, port=port) as process:
        yield process


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with mosquitto(tmp_path_factory.mktemp("mosquitto"), port):
        yield port


class Listener:
    """Somebody who subscribes to everything."""

    def __init__(self, port: int, topic: str = "#", known_as: str = "") -> None:
        """``known_as``: the broker keeps messages for whoever it knows."""
        self.messages: list[tuple[str, bytes, bool]] = []
        """Topic, payload, and whether it had been retained."""
        self._client = Client(CallbackAPIVersion.VERSION2, known_as, clean_session=not known_as)
        self._client.on_message = lambda _c, _d, m: self._keep(m)
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(topic, qos=1)
        assert subscribed.wait(30)

    def _keep(self, message: MQTTMessage) -> None:
        """``dup``: the broker gives it to us again, for we went before we could thank for it."""
        if not message.dup:
            self.messages.append((message.topic, message.payload, message.retain))

    def also(self, topic: str) -> None:
        """Subscribe, and wait for what is retained: a broker answers in order."""
        fence = f"fence/{secrets.token_hex(6)}"
        self._client.subscribe(topic, qos=1)
        self._client.publish(fence, b"up to here", qos=1)
        self.wait_for(fence)

    def of(self, topic: str) -> list[Any]:
        """Payloads as JSON, or as text where they are none."""
        return [json.loads(p) if p[:1] in b"{[" and p else p.decode() for t, p, _ in self.messages if t == topic]

    def wait_for(self, topic: str, count: int = 1) -> list[Any]:
        wait_until(lambda: len(self.of(topic)) >= count, f"{count} messages on {topic}")
        return self.of(topic)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def sender_at(port: int, prefix: str, **more: Any) -> Iterator[MqttSender]:
    sender = MqttSender(Broker("127.0.0.1", port, prefix, **more))
    try:
        yield sender
    finally:
        sender.close()


def retained(port: int, topic: str) -> list[Any]:
    """What somebody finds who comes now."""
    with Listener(port, "fence/#") as late:
        late.also(topic)
        return late.of(topic)


def test_an_alert_is_a_message_and_a_retained_state(port: int) -> None:
    first, second = alert_of("a"), alert_of("b", track_id=None)
    over = alert_of("a", AlertState.RESOLVED)
    with Listener(port, "one/#") as listener, sender_at(port, "one") as sender:
        for alert in (first, second, over):
            sender.send(alert)
        assert listener.wait_for("one/alerts", 3) == [json_of(alert) for alert in (first, second, over)]
        states = listener.wait_for("one/streams/door", 3)
        assert [(state["state"], state["firing"]) for state in states] == [("ON", 1), ("ON", 2), ("ON", 1)]
        assert states[2]["newest_id"] == "a"
        assert retained(port, "one/streams/door") == states[2:]
        assert retained(port, "one/alerts") == []
        sender.send(alert_of("b", AlertState.RESOLVED))
        assert listener.wait_for("one/streams/door", 4)[3]["state"] == "OFF"


def test_an_alert_of_no_stream_is_the_services(port: int) -> None:
    with Listener(port, "service/#") as listener, sender_at(port, "service") as sender:
        sender.send(alert_of("a", stream=StreamName("")))
        assert listener.wait_for("service/service")[0]["state"] == "ON"


def test_home_assistant_is_told_of_streams_as_they_come_and_go(port: int) -> None:
    topic = "ha/binary_sensor/two_door/config"
    with (
        Listener(port, "ha/#") as listener,
        Listener(port, "two/#") as states,
        sender_at(port, "two", discovery="ha") as sender,
    ):
        sender.refresh([DOOR])
        (described,) = listener.wait_for(topic)
        assert described["unique_id"] == "two_door"
        assert described["state_topic"] == described["json_attributes_topic"] == "two/streams/door"
        assert described["availability_topic"] == "two/status"
        assert states.wait_for("two/streams/door") == [{"state": "OFF", "firing": 0}]
        sender.refresh([DOOR, YARD])
        listener.wait_for("ha/binary_sensor/two_yard/config")
        assert len(listener.of(topic)) == 1, "told once"
        sender.refresh([YARD])
        assert listener.wait_for(topic, 2)[1] == ""
        assert retained(port, topic) == retained(port, "two/streams/door") == []


def test_an_alert_of_a_stream_that_has_gone_leaves_nothing_behind(port: int) -> None:
    """Whoever removes a camera resolves its alerts, and is told so later."""
    with Listener(port, "late/#") as listener, sender_at(port, "late") as sender:
        sender.refresh([DOOR, YARD])
        sender.send(alert_of("a"))
        sender.refresh([YARD])
        sender.send(alert_of("a", AlertState.RESOLVED))
        assert listener.wait_for("late/streams/door", 4)[3]["state"] == "OFF"
        sender.refresh([YARD])
        assert retained(port, "late/streams/door") == []
        assert retained(port, "late/streams/yard")


def test_a_stream_that_goes_while_the_broker_is_away_is_taken_back_once_it_returns(tmp_path: Path) -> None:
    port = free_port()
    keeps = ("persistence true", f"persistence_location {tmp_path}/", "autosave_on_changes true", "autosave_interval 1")
    with sender_at(port, "gone") as sender:
        with mosquitto(tmp_path, port, *keeps):
            sender.refresh([DOOR, YARD])
        wait_until(lambda: sender._client is None or not sender._client.is_connected(), "word of the loss")
        with pytest.raises(NotSentError):
            sender.refresh([YARD])
        with mosquitto(tmp_path, port, *keeps):
            assert retained(port, "gone/streams/door")
            sender.refresh([YARD])
            assert retained(port, "gone/streams/door") == []
            assert retained(port, "homeassistant/binary_sensor/gone_door/config") == []


def test_home_assistant_may_be_told_nothing(port: int) -> None:
    with Listener(port, "#") as listener, sender_at(port, "three", discovery=None) as sender:
        sender.refresh([DOOR])
        listener.wait_for("three/streams/door")
        assert not [topic for topic, _, _ in listener.messages if "binary_sensor" in topic and "three" in topic]


def test_names_that_home_assistant_would_not_take_stay_apart() -> None:
    names = ["a.b", "a_b", "a-b", "a b", "ä", "a+b", ""]
    ids = [object_id("unmask/house", StreamName(name)) for name in names]
    assert len(set(ids)) == len(names)
    assert all(one.isascii() and one.replace("_", "").replace("-", "").isalnum() for one in ids)


def test_a_sender_that_says_goodbye_is_offline_and_one_that_dies_too(port: int) -> None:
    with Listener(port, "four/status") as listener:
        with sender_at(port, "four") as sender:
            sender.refresh([])
            assert listener.wait_for("four/status") == ["online"]
        assert listener.wait_for("four/status", 2)[1] == "offline"
        with sender_at(port, "four") as sender:
            sender.refresh([])
            listener.wait_for("four/status", 3)
            client = sender._client
            assert client is not None
            connection = client.socket()
            assert connection is not None
            connection.shutdown(2)  # no goodbye: the last will speaks
            assert listener.wait_for("four/status", 4)[3] == "offline"
            wait_until(lambda: not client.is_connected(), "the sender's own word of it")
            sender.refresh([])
            assert listener.wait_for("four/status", 5)[4] == "online"


def test_a_test_alert_leaves_what_a_running_watch_keeps_as_it_is(port: int) -> None:
    sink = AlertsConfig.model_validate({"to": [{"kind": "mqtt", "host": "127.0.0.1", "port": port, "prefix": "seven"}]})
    with Listener(port, "seven/#") as listener, sender_at(port, "seven") as running_one:
        running_one.refresh([DOOR])
        listener.wait_for("seven/service")
        listener.wait_for("seven/streams/door")
        before = [topic for topic, _, _ in listener.messages]
        assert try_sink(sink.to[0]) is None
        listener.wait_for("seven/alerts", 2)
        assert [topic for topic, _, _ in listener.messages] == [*before, "seven/alerts", "seven/alerts"]
        assert retained(port, "seven/status") == ["online"]


def test_a_broker_that_dies_and_returns_is_told_everything_once(tmp_path: Path) -> None:
    """It keeps what it is told for a listener that it knows, though that one comes back later than we do."""
    port, keys, told = free_port(), [f"a{number}" for number in range(12)], list[str]()
    keeps = ("persistence true", f"persistence_location {tmp_path}/", "autosave_on_changes true", "autosave_interval 1")
    with opened(tmp_path / "spool", mqtt=MqttSender(Broker("127.0.0.1", port, "five"))) as outbox:
        for first, last in ((0, 4), (4, 12)):
            with mosquitto(tmp_path, port, *keeps), Listener(port, "five/#", known_as="guard") as listener:
                for key in keys[max(first, 8 if first else 0) : last]:
                    outbox.add(alert_of(key))
                told += [alert["id"] for alert in listener.wait_for("five/alerts", last - first)]
            for key in keys[4:8] if first == 0 else ():
                outbox.add(alert_of(key))
    assert told == keys


def test_a_broker_that_forgot_is_told_the_streams_and_their_states_again(tmp_path: Path) -> None:
    port = free_port()
    with sender_at(port, "six") as sender:
        with mosquitto(tmp_path, port):
            sender.refresh([DOOR])
            sender.send(alert_of("a"))
        wait_until(lambda: sender._client is None or not sender._client.is_connected(), "word of the loss")
        with pytest.raises(NotSentError):
            sender.refresh([DOOR])
        with mosquitto(tmp_path, port):
            sender.refresh([DOOR])
            assert [state["state"] for state in retained(port, "six/streams/door")] == ["ON"]
            assert retained(port, "homeassistant/binary_sensor/six_door/config")


def test_nobody_there_is_one_line() -> None:
    with (
        sender_at(free_port(), "x") as sender,
        pytest.raises(NotSentError, match=r"is not reached \(Connection refused"),
    ):
        sender.send(alert_of("a"))


def test_only_who_knows_the_password_is_let_in(tmp_path: Path) -> None:
    made = shutil.which("mosquitto_passwd")
    if made is None:
        pytest.skip("mosquitto_passwd is missing: tools/setup.sh test installs it with mosquitto")
    port, passwords = free_port(), tmp_path / "passwords"
    subprocess.run([made, "-b", "-c", passwords, "unmask", "r1ght"], check=True, capture_output=True)
    with mosquitto(tmp_path, port, f"password_file {passwords}"):
        with sender_at(port, "x", user="unmask", password=SecretStr("r1ght")) as sender:
            sender.send(alert_of("a"))
        with sender_at(port, "x", user="unmask", password=SecretStr("wr0ng")) as sender:
            with pytest.raises(NotSentError, match="does not let us in") as caught:
                sender.send(alert_of("a"))
            assert "wr0ng" not in str(caught.value) + repr(vars(sender))


def test_a_broker_is_believed_by_its_certificate(tmp_path: Path) -> None:
    made, key = certificate_of(tmp_path)
    port = free_port()
    with mosquitto(tmp_path, port, f"certfile {made}", f"keyfile {key}"):
        with sender_at(port, "x", context=ssl.create_default_context(cafile=str(made))) as sender:
            sender.send(alert_of("a"))
        with (
            sender_at(port, "x", context=ssl.create_default_context()) as sender,
            pytest.raises(NotSentError, match="certificate is not trusted"),
        ):
            sender.send(alert_of("a"))
