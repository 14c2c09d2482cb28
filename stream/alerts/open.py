"""From the ``alerts`` section to rules that judge and senders that send."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from stream.alerts.alert import AlertListener
from stream.alerts.engine import AlertEngine, Record
from stream.alerts.message import new_alert_id
from stream.alerts.outbox import DeliveryCounts, Outbox, Route
from stream.alerts.rule_book import RuleBook
from stream.alerts.rules import FakeHeld, NoFace, ProbabilityAbove, Rule, StreamDown
from stream.alerts.sender import Sender
from stream.alerts.senders.alertmanager import AlertmanagerSender
from stream.alerts.senders.command import CommandSender
from stream.alerts.senders.http_post import HttpPost
from stream.alerts.senders.mail import MailSender, MailServer
from stream.alerts.senders.mqtt import Broker, MqttSender
from stream.alerts.senders.webhook import WebhookSender
from stream.alerts.spool import SpoolLimits
from stream.config_alerts import (
    MAIL_PORTS,
    AlertmanagerSink,
    AlertsConfig,
    AnyRule,
    AnySink,
    MailSink,
    MqttSink,
    WebhookSink,
)
from stream.errors import MissingPartError, UsageError
from stream.evidence.ports import EvidenceTaker

log = logging.getLogger(__name__)

RULES: dict[str, type[Rule]] = {kind.kind.value: kind for kind in (FakeHeld, ProbabilityAbove, NoFace, StreamDown)}
OpenAlerts = AlertEngine
"""``sink`` takes scenes, ``subscribe`` adds a listener, ``raise_alert`` is for those who are no rule."""


class AlertCounts(DeliveryCounts, AlertListener, Protocol):
    """Told of alerts and of deliveries: the metrics."""

    def expect_alerts(self) -> None: ...

    def add_alert_sink(self, sink: str) -> None: ...


def open_alerts(
    config: AlertsConfig,
    counts: AlertCounts,
    *,
    streams: Collection[str] = (),
    evidence: EvidenceTaker | None = None,
    record: Record | None = None,
) -> OpenAlerts:
    """Everything there is to alerts; it rests until it is started, and is closed by its ``close``.

    ``streams``: names that are known by now, to notice a rule about none. Raises UsageError when a secret is not there,
    and OutputError when nothing can wait in the spool's folder.
    """
    _warn_of_unknown(config, streams)
    routes = {sink.name: Route(sender_of(sink), sink.at_least) for sink in config.to}
    counts.expect_alerts()
    for name in routes:
        counts.add_alert_sink(name)
    limits = SpoolLimits(config.spool.messages, config.spool.bytes)
    outbox = Outbox(config.spool.folder.expanduser(), routes, limits, counts) if routes else None
    book = RuleBook([rule_of(rule) for rule in config.rules], new_alert_id)
    engine = AlertEngine(book, outbox, evidence=evidence, record=record)
    engine.subscribe(counts)
    return engine


def rule_of(rule: AnyRule) -> Rule:
    """A configured rule, whose keys are the names of the rule's numbers."""
    return RULES[rule.kind](**rule.model_dump(exclude={"kind"}))


def sender_of(sink: AnySink, *, is_trial: bool = False) -> Sender:
    """``is_trial``: it changes nothing of what a run that goes on elsewhere keeps at the receiver.

    Raises UsageError when a secret is not there or certificates cannot be read, MissingPartError without paho-mqtt.
    """
    if isinstance(sink, WebhookSink):
        return WebhookSender(_post_to(sink, sink.address), sink.secret)
    if isinstance(sink, AlertmanagerSink):
        api = SecretStr(sink.address.get_secret_value().rstrip("/") + "/api/v2/alerts")
        return AlertmanagerSender(_post_to(sink, api), repeat_s=sink.repeat_s)
    if isinstance(sink, MqttSink):
        return MqttSender(_broker_of(sink), keeps_state=not is_trial)
    if isinstance(sink, MailSink):
        return MailSender(_mail_server_of(sink), sink.sender, sink.to)
    return CommandSender(sink.run, timeout_s=sink.timeout_s, env=sink.env)


def _post_to(sink: WebhookSink | AlertmanagerSink, url: SecretStr) -> HttpPost:
    return HttpPost(url, context=_context(sink.owner, sink.ca), token=sink.token, timeout_s=sink.timeout_s)


def _broker_of(sink: MqttSink) -> Broker:
    if find_spec("paho") is None:
        raise MissingPartError(f"{sink.owner} needs paho-mqtt: pip install 'paho-mqtt>=2.0'")
    user, password = sink.login
    port = sink.port if sink.port is not None else (8883 if sink.tls else 1883)
    context = _context(sink.owner, sink.ca) if sink.tls else None
    return Broker(sink.host, port, sink.prefix, sink.discovery or None, user, password, context)


def _mail_server_of(sink: MailSink) -> MailServer:
    user, password = sink.login
    port = sink.port if sink.port is not None else MAIL_PORTS[sink.security]
    return MailServer(sink.host, port, sink.security, user, password, _context(sink.owner, sink.ca))


def _context(owner: str, ca: Path | None) -> ssl.SSLContext:
    """Verifies the other side by the certificates in ``ca``, or by the system's."""
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca.expanduser()))
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"{owner}: ca {ca} holds no certificates ({error.strerror})") from None


def _warn_of_unknown(config: AlertsConfig, streams: Collection[str]) -> None:
    """A name with a typo would be silent for ever; one that comes later is no mistake."""
    for rule in config.rules:
        for name in rule.streams:
            if streams and not set(name) & set("*?[") and name not in streams:
                log.warning(
                    "alert rule %s: there is no stream %s yet; there are %s", rule.name, name, ", ".join(streams)
                )
