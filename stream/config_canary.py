"""The canary's section of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class CanaryConfig(BaseModel):
    """A known genuine and a known swapped clip through the live engines."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    enabled: Literal["auto", "on", "off"] = "auto"
    """``auto``: where it is recorded what the model's weights say of the clips; ``on``: any model, by verdict alone."""
    every_min: Annotated[float, Field(gt=0)] = 60.0
    """From one pass to the next; the first is at start, and each change of the runtime brings one."""

    @field_validator("enabled", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        """YAML reads a bare ``on`` as true and ``off`` as false."""
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
