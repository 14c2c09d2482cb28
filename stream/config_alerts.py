"""The ``alerts`` section: which rules there are, and whom they tell. docs/alerts.md explains every key."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, PlainSerializer, SecretStr, model_validator

from stream.alerts.alert import Severity
from stream.config_section import (
    Fraction,
    NotNegative,
    PlainName,
    Port,
    Positive,
    Section,
    Text,
    UserText,
    VariableName,
    is_loopback,
    one_of,
    secret_of,
    variable,
)
from stream.errors import UsageError


def _not_empty(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("must not be empty")
    return values


class _Rule(Section):
    name: PlainName
    severity: Severity = Severity.WARNING
    streams: Annotated[tuple[Text, ...], AfterValidator(_not_empty)] = ("*",)
    """Names or globs such as ``gate-*``."""
    cool_down_s: NotNegative = 60.0
    resolve_after_s: NotNegative = 5.0


class FakeRule(_Rule):
    """The verdict on a face is ``fake`` for so long."""

    kind: Literal["fake"]
    for_s: NotNegative = 3.0


class ProbabilityRule(_Rule):
    """A face's probability is above a limit in so many of its last windows."""

    kind: Literal["probability"]
    above: Fraction
    windows: Annotated[int, Field(ge=1, le=1000)] = 3
    of: Annotated[int, Field(ge=1, le=1000)] = 5

    @model_validator(mode="after")
    def _can_be_met(self) -> ProbabilityRule:
        if self.windows > self.of:
            raise ValueError("windows must not be more than of")
        return self


class NoFaceRule(_Rule):
    """A stream plays and shows nobody for so long."""

    kind: Literal["no_face"]
    for_s: Positive = 60.0


class StreamDownRule(_Rule):
    """A stream does not play for so long."""

    kind: Literal["stream_down"]
    for_s: NotNegative = 15.0


AnyRule = Annotated[FakeRule | ProbabilityRule | NoFaceRule | StreamDownRule, Field(discriminator="kind")]


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[^!-~]", url):
        raise ValueError("must be an address such as https://example.org/alerts")
    if "@" in parts.netloc:
        raise ValueError("must hold no user and password: use token_env or token_file")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("must have a port from 0 to 65535") from None
    return url


def shown_address(url: str) -> str:
    """Fit for logs: paths and queries of web addresses are often secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


WebAddress = Annotated[str, AfterValidator(_web_address), PlainSerializer(shown_address)]


class _Sink(Section):
    name: PlainName = ""
    """Shown, logged, a metric label and a folder of the spool; left out, its kind."""
    at_least: Severity = Severity.INFO
    """Alerts that are less severe are not sent."""

    @property
    def owner(self) -> str:
        return f"alert sink {self.name}"

    def check(self) -> None:
        """Raises UsageError when a secret is not there."""


class _WebSink(_Sink):
    url: WebAddress | None = Field(default=None, repr=False)
    url_env: VariableName | None = None
    """Environment variable that holds the address: many are secrets themselves."""
    token_env: VariableName | None = None
    """Sent as ``Authorization: Bearer``."""
    token_file: Path | None = None
    ca: Path | None = None
    """A file of certificates to trust in place of the system's."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0

    @model_validator(mode="after")
    def _one_address(self) -> _WebSink:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give url or url_env")
        one_of(self, "token_env", "token_file")
        return self

    @property
    def address(self) -> SecretStr:
        """Raises UsageError."""
        if self.url is not None:
            return SecretStr(self.url)
        try:
            return SecretStr(_web_address(variable(self.url_env or "", self.owner)))
        except ValueError as error:
            raise UsageError(f"{self.owner}: what {self.url_env} holds {error}") from None

    @property
    def token(self) -> SecretStr | None:
        """Raises UsageError."""
        return secret_of(self.owner, "token", self.token_env, self.token_file)

    def check(self) -> None:
        _ = self.address, self.token
        _check_file(self.owner, "ca", self.ca)


class WebhookSink(_WebSink):
    """JSON to a web address."""

    kind: Literal["webhook"]
    secret_env: VariableName | None = None
    """What messages are signed with."""
    secret_file: Path | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> WebhookSink:
        one_of(self, "secret_env", "secret_file")
        return self

    @property
    def secret(self) -> SecretStr | None:
        """Raises UsageError."""
        return secret_of(self.owner, "secret", self.secret_env, self.secret_file)

    def check(self) -> None:
        super().check()
        _ = self.secret


class AlertmanagerSink(_WebSink):
    """Prometheus' Alertmanager; ``url`` is its own, without ``/api``."""

    kind: Literal["alertmanager"]
    repeat_s: Annotated[float, Field(ge=1)] = 60.0


class _LoginSink(_Sink):
    host: Text
    user: UserText | None = Field(default=None, repr=False)
    user_env: VariableName | None = None
    password_env: VariableName | None = None
    password_file: Path | None = None
    ca: Path | None = None

    @model_validator(mode="after")
    def _whole_login(self) -> _LoginSink:
        one_of(self, "user", "user_env")
        one_of(self, "password_env", "password_file")
        if self.has_password and not (self.user or self.user_env):
            raise ValueError("a password needs user or user_env")
        if self.has_password and not self.is_encrypted and not is_loopback(self.host):
            raise ValueError("a password would travel in the clear: encrypt the connection")
        return self

    @property
    def is_encrypted(self) -> bool:
        raise NotImplementedError

    @property
    def has_password(self) -> bool:
        return self.password_env is not None or self.password_file is not None

    @property
    def login(self) -> tuple[str | None, SecretStr | None]:
        """User and password. Raises UsageError."""
        user = self.user if self.user_env is None else variable(self.user_env, self.owner)
        return user, secret_of(self.owner, "password", self.password_env, self.password_file)

    def check(self) -> None:
        _ = self.login
        _check_file(self.owner, "ca", self.ca)


class MqttSink(_LoginSink):
    """An MQTT broker."""

    kind: Literal["mqtt"]
    port: Port | None = None
    """Left out: 8883 with TLS, else 1883."""
    tls: bool = False
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")] = "unmask"
    discovery: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")] | Literal[False] = "homeassistant"
    """Home Assistant's prefix; ``false`` describes nothing to it."""

    @property
    def is_encrypted(self) -> bool:
        return self.tls


def _mail_address(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;:\"]+@[^@\s<>,;:\"]+", text):
        raise ValueError("must be a mail address such as guard@example.org")
    return text


MailAddress = Annotated[str, AfterValidator(_mail_address)]
MAIL_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class MailSink(_LoginSink):
    """Mails by SMTP."""

    kind: Literal["email"]
    port: Port | None = None
    """Left out: 587, 465 or 25, by ``security``."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: MailAddress
    to: Annotated[tuple[MailAddress, ...], AfterValidator(_not_empty)]

    @property
    def is_encrypted(self) -> bool:
        return self.security != "none"


class CommandSink(_Sink):
    """A command of one's own."""

    kind: Literal["command"]
    run: Annotated[tuple[Text, ...], AfterValidator(_not_empty)]
    """The program and its arguments; no shell looks at them."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    env: tuple[Text, ...] = ()
    """Names of further environment variables that it gets."""


AnySink = Annotated[
    WebhookSink | MqttSink | AlertmanagerSink | MailSink | CommandSink,
    Field(discriminator="kind"),
]


class SpoolConfig(Section):
    """Where messages wait for sinks that are not reached, and how many."""

    folder: Path = Path("unmask-alerts")
    messages: Annotated[int, Field(ge=10)] = 10_000
    bytes: Annotated[ByteSize, Field(ge=65_536)] = ByteSize(32 * 2**20)
    """Written like ``32MiB``. Both are of each sink; the oldest message goes when one is passed."""


def _folder_alone(value: Any) -> Any:
    """``spool: DIR`` says the folder."""
    return {"folder": value} if isinstance(value, str | Path) else value


def _with_names(sinks: Any) -> Any:
    """A sink without a name is called by its kind."""
    if not isinstance(sinks, list | tuple):
        return sinks
    return [{"name": one["kind"], **one} if isinstance(one, dict) and "kind" in one else one for one in sinks]


class AlertsConfig(Section):
    """What wakes somebody, and whom."""

    rules: tuple[AnyRule, ...] = ()
    to: Annotated[tuple[AnySink, ...], BeforeValidator(_with_names)] = ()
    spool: Annotated[SpoolConfig, BeforeValidator(_folder_alone)] = SpoolConfig()

    @model_validator(mode="after")
    def _names_differ(self) -> AlertsConfig:
        for what, entries in (("rules", self.rules), ("to", self.to)):
            for name, count in Counter(entry.name for entry in entries).items():
                if count > 1:
                    raise ValueError(f"{what}: {count} are named {name}: names must differ")
        return self

    def problems(self) -> Iterator[tuple[int, UsageError]]:
        """Sinks, by their place in ``to``, whose secrets are not there."""
        for index, sink in enumerate(self.to):
            try:
                sink.check()
            except UsageError as error:
                yield index, error


def _check_file(owner: str, key: str, path: Path | None) -> None:
    if path is not None and not path.expanduser().is_file():
        raise UsageError(f"{owner}: {key} {path} is no file: name one with certificates")
