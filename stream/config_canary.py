"""The canary's section of a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from stream.config_section import Positive, Section


class CanaryConfig(Section):
    """A known genuine and a known swapped clip through the live engines."""

    enabled: Literal["auto", "on", "off"] = "auto"
    """``auto``: where it is recorded what the model's weights say of the clips; ``on``: any model, by verdict alone."""
    every_min: Positive = 60.0
    """From one pass to the next; the first is at start, and each change of the runtime brings one."""

    @field_validator("enabled", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        """YAML reads a bare ``on`` as true and ``off`` as false."""
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
