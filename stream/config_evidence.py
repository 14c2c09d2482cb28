"""The evidence's section of a configuration."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class EvidenceConfig(BaseModel):
    """What is kept of alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    folder: Path | None = None
    """Holds the log and a folder for each alert; None keeps neither."""
    key: Path | None = None
    """File of the key that signs the log, made when it is not there; None: ``keys/log.pem`` in the user's data."""
