"""The overlaid video as an RTSP server: where it listens, and who may watch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from stream.config_section import (
    SHORTEST_PASSWORD,
    Port,
    Section,
    Text,
    UserText,
    VariableName,
    is_loopback,
    one_of,
    secret_of,
    variable,
)
from stream.config_web import TlsConfig
from stream.errors import UsageError

OWNER = "restream"


class RestreamConfig(Section):
    """The overlaid video as an RTSP server: rtsp://host:port/NAME, with TLS rtsps://host:port/NAME."""

    enabled: bool = False
    host: Text = "127.0.0.1"
    """Loopback, unless a user, a password and ``tls`` are given."""
    port: Port = 8554
    """0 takes a free one."""
    user: UserText | None = Field(default=None, repr=False)
    user_env: VariableName | None = None
    """Environment variable that holds the user name."""
    password_env: VariableName | None = None
    """Environment variable that holds the password."""
    password_file: Path | None = None
    """File that holds the password and nothing else."""
    tls: TlsConfig | None = None

    @property
    def has_password(self) -> bool:
        return self.password_env is not None or self.password_file is not None

    @property
    def scheme(self) -> str:
        return "rtsp" if self.tls is None else "rtsps"

    @model_validator(mode="after")
    def _both_or_neither(self) -> RestreamConfig:
        one_of(self, "user", "user_env")
        one_of(self, "password_env", "password_file")
        if self.has_password != (self.user is not None or self.user_env is not None):
            raise ValueError("give both a user (user or user_env) and a password (password_env or password_file)")
        return self

    @model_validator(mode="after")
    def _nobody_let_in(self) -> RestreamConfig:
        if self.enabled and not is_loopback(self.host) and not (self.has_password and self.tls is not None):
            raise ValueError(
                f"host {self.host} can be reached from other machines, so the restream needs restream.user, "
                "restream.password_env (or password_file) and restream.tls (certificate and key): set them, or leave "
                "the host at 127.0.0.1"
            )
        return self

    def credentials(self, environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
        """User and password that clients must show, both secrets; None lets everybody watch. Raises UsageError."""
        password = secret_of(OWNER, "password", self.password_env, self.password_file, environment)
        if password is None:
            return None
        user = self.user if self.user_env is None else variable(self.user_env, OWNER, environment)
        if not is_loopback(self.host) and len(password.get_secret_value()) < SHORTEST_PASSWORD:
            raise UsageError(f"{OWNER}: the password has fewer than {SHORTEST_PASSWORD} letters: take a longer one")
        return str(user), password.get_secret_value()

    def check(self) -> None:
        """Raises UsageError when it is on, and the secrets or the files of TLS are not there."""
        if not self.enabled:
            return
        self.credentials()
        files = () if self.tls is None else (self.tls.certificate, self.tls.key)
        for path in files:
            if not path.is_file():
                raise UsageError(f"{OWNER}: tls: {path} is no file: give a PEM certificate and its key")
