"""Alerts to an MQTT broker: each as a message, each stream's state retained, and Home Assistant told of the streams.

    PREFIX/status              online, or offline by the last will; retained
    PREFIX/alerts              every message once it changes (QoS 1)
    PREFIX/streams/NAME        ON or OFF with its newest alert; retained
    PREFIX/service             the same of what concerns no stream
    DISCOVERY/binary_sensor/…  Home Assistant's description of each; retained

The connection is made anew after any doubt: a client that goes on by itself would send again what is tried again here.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from stream.alerts.alert import Alert, AlertState
from stream.alerts.message import encoded, json_of
from stream.alerts.sender import NotSentError
from stream.types import StreamName

if TYPE_CHECKING:
    from paho.mqtt.client import Client

REFRESH_S = 5.0
"""How soon a lost connection is noticed and a new stream is described."""
ANSWER_S = 5.0
GOODBYE_S = 1.0
MOST_FIRING = 1000
SERVICE = StreamName("")


@dataclass(frozen=True)
class Broker:
    """Where messages go."""

    host: str
    port: int
    prefix: str = "unmask"
    discovery: str | None = "homeassistant"
    """Home Assistant's prefix; None tells it nothing."""
    user: str | None = field(default=None, repr=False)
    password: SecretStr | None = None
    context: ssl.SSLContext | None = None
    """None speaks without TLS."""


class MqttSender:
    """Remembers what fires and what was described, to say it again to a broker that forgot. Used by one thread."""

    def __init__(self, broker: Broker, *, keeps_state: bool = True) -> None:
        """``keeps_state``: False sends messages alone, and leaves what another run has retained as it is."""
        self.refresh_s: float | None = REFRESH_S
        self._broker, self._keeps_state = broker, keeps_state
        self._client: Client | None = None
        self._firing: OrderedDict[str, Alert] = OrderedDict()
        self._newest: dict[StreamName, Alert] = {}
        self._described: set[StreamName] = set()
        """On this connection."""
        self._retained: set[StreamName] = set()
        """What the broker may hold of: taken back when there is no such stream, however late it was told."""

    def send(self, alert: Alert) -> None:
        self._connect()
        before = self._firing.get(alert.id)
        self._remember(alert)
        try:
            self._publish_state(alert.stream)
            self._publish(
                f"{self._broker.prefix}/alerts", encoded(alert), retain=False
            )  # last: what doubles is a state
        except NotSentError:
            if before is None:
                self._firing.pop(alert.id, None)
            raise

    def refresh(self, streams: Collection[StreamName]) -> None:
        self._connect()
        for stream in sorted({*streams, SERVICE} - self._described):
            self._describe(stream)
            self._publish_state(stream)
            self._described.add(stream)
        for stream in sorted(self._retained - {*streams, SERVICE}):
            self._take_back(stream)
            self._described.discard(stream)
            self._retained.discard(stream)
            self._newest.pop(stream, None)

    def close(self) -> None:
        client = self._client
        if self._keeps_state and client is not None and client.is_connected():
            info = client.publish(f"{self._broker.prefix}/status", "offline", qos=1, retain=True)
            with suppress(RuntimeError, ValueError):  # gone meanwhile: the last will says it
                info.wait_for_publish(GOODBYE_S)
        self._drop()

    def _remember(self, alert: Alert) -> None:
        self._newest[alert.stream] = alert
        if alert.state is AlertState.RESOLVED:
            self._firing.pop(alert.id, None)
        else:
            self._firing[alert.id] = alert
        if len(self._firing) > MOST_FIRING:
            self._firing.popitem(last=False)

    def _publish_state(self, stream: StreamName) -> None:
        if not self._keeps_state:
            return
        firing = sum(alert.stream == stream for alert in self._firing.values())
        newest = json_of(self._newest[stream]) if stream in self._newest else {}
        state = {"state": "ON" if firing else "OFF", "firing": firing, **{f"newest_{k}": v for k, v in newest.items()}}
        self._retained.add(stream)
        self._publish(self._state_topic(stream), json.dumps(state, ensure_ascii=False).encode(), retain=True)

    def _state_topic(self, stream: StreamName) -> str:
        prefix = self._broker.prefix
        return f"{prefix}/service" if stream == SERVICE else f"{prefix}/streams/{_level(stream)}"

    # Home Assistant

    def _describe(self, stream: StreamName) -> None:
        self._retained.add(stream)
        if self._broker.discovery is not None:
            described = discovery_of(stream, self._broker.prefix, self._state_topic(stream))
            self._publish(self._discovery_topic(stream), json.dumps(described).encode(), retain=True)

    def _take_back(self, stream: StreamName) -> None:
        """An empty retained message takes away the one before."""
        if self._broker.discovery is not None:
            self._publish(self._discovery_topic(stream), b"", retain=True)
        self._publish(self._state_topic(stream), b"", retain=True)

    def _discovery_topic(self, stream: StreamName) -> str:
        return f"{self._broker.discovery}/binary_sensor/{object_id(self._broker.prefix, stream)}/config"

    # The connection

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Returns when the broker has it. Raises NotSentError."""
        client = self._client
        if client is None:
            raise NotSentError("not connected to the broker")
        info = client.publish(topic, payload, qos=1, retain=retain)
        try:
            info.wait_for_publish(ANSWER_S)
            has_arrived = info.is_published()
        except (RuntimeError, ValueError):  # the queue is full, or the connection is gone
            has_arrived = False
        if not has_arrived:
            self._drop()
            raise NotSentError("the broker did not say that it has the message")

    def _connect(self) -> None:
        """Raises NotSentError when there is no broker, or it does not let us in."""
        if self._client is not None and self._client.is_connected():
            return
        self._drop()
        self._client, answer = self._new_client()
        try:
            self._client.connect(self._broker.host, self._broker.port, keepalive=30)
            self._client.loop_start()
        except (OSError, ValueError) as error:
            self._drop()
            raise NotSentError(f"the broker is not reached ({_words(error)})") from None
        if not answer.came.wait(ANSWER_S) or answer.problem:
            self._drop()
            raise NotSentError(f"the broker does not let us in ({answer.problem or 'no answer'})")
        if self._keeps_state:
            self._publish(f"{self._broker.prefix}/status", b"online", retain=True)

    def _new_client(self) -> tuple[Client, _Answer]:
        from paho.mqtt.client import Client, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        broker, answer = self._broker, _Answer()
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"unmask-{secrets.token_hex(6)}",
            clean_session=True,
            protocol=MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = ANSWER_S
        if self._keeps_state:
            client.will_set(f"{broker.prefix}/status", "offline", qos=1, retain=True)
        client.on_connect = lambda _client, _data, _flags, reason, _properties: answer.give(reason)
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password.get_secret_value() if broker.password else None)
        if broker.context is not None:
            client.tls_set_context(broker.context)
        return client, answer

    def _drop(self) -> None:
        """Forget the connection, and with it all that is under way on it."""
        client, self._client = self._client, None
        self._described.clear()
        if client is not None:
            client.disconnect()
            client.loop_stop()


class _Answer:
    """The broker's to our greeting; given on the client's own thread."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.problem = ""

    def give(self, reason: Any) -> None:
        self.problem = str(reason) if reason.is_failure else ""
        self.came.set()


def discovery_of(stream: StreamName, prefix: str, state_topic: str) -> dict[str, Any]:
    """Home Assistant's description of a binary sensor: whether anything fires (its MQTT discovery)."""
    return {
        "name": stream or "service",
        "unique_id": object_id(prefix, stream),
        "state_topic": state_topic,
        "value_template": "{{ value_json.state }}",
        "json_attributes_topic": state_topic,
        "availability_topic": f"{prefix}/status",
        "device_class": "problem",
        "device": {"identifiers": [prefix], "name": prefix, "manufacturer": "Unmask"},
        "origin": {"name": "Unmask"},
    }


def object_id(prefix: str, stream: StreamName) -> str:
    """Letters, digits, ``_`` and ``-``, as Home Assistant has it; differs for different streams."""
    plain = "".join(one if one.isascii() and (one.isalnum() or one == "-") else f"_{ord(one):x}_" for one in stream)
    return "".join(one if one.isascii() and one.isalnum() else "-" for one in prefix) + f"_{plain or 'service'}"


def _level(stream: StreamName) -> str:
    """One level of a topic: no wildcard, no further level."""
    return "".join("_" if one in "+#/\0" else one for one in stream)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return getattr(error, "strerror", None) or type(error).__name__
