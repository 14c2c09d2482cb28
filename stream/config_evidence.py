"""What is kept of an alert, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ByteSize, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from stream.config_section import Positive, Section

SMALLEST_BYTES = 256 * 2**20
"""Any one alert's evidence has room in it."""


class EvidenceConfig(Section):
    """Nothing is recorded unless an alert asks for it and ``folder`` is set."""

    folder: Path | None = None
    """Holds the log and a folder for each alert; None keeps neither."""
    key: Path | None = None
    """File of the key that signs the log, made when it is not there; None: ``keys/log.pem`` in the user's data."""
    before_s: Annotated[float, Field(ge=0, le=60)] = 5.0
    """How long before the alert its clip begins: so much encoded video of each live stream is held in memory."""
    after_s: Annotated[float, Field(ge=0, le=60)] = 5.0
    """How long after the alert its clip ends."""
    keep_days: Positive = 30.0
    """Evidence older than this is deleted."""
    keep_bytes: Annotated[ByteSize, Field(ge=SMALLEST_BYTES)] = ByteSize(10 * 2**30)
    """Written like ``10GiB``; the oldest goes first."""
    blur_others: bool = False
    """Blur the faces that an alert is not about; then there is no clip, for encoded video cannot be blurred."""
    heatmap: bool = True
    """Ask the model where on the face its score comes from: seconds of a processor for each alert."""

    @field_validator("keep_bytes", mode="wrap")
    @classmethod
    def _in_plain_words(cls, value: object, read: ValidatorFunctionWrapHandler) -> ByteSize:
        try:
            size: ByteSize = read(value)
        except ValidationError:
            least = SMALLEST_BYTES // 2**20
            raise ValueError(f"must be a size such as 10GiB, and {least}MiB at least") from None
        return size
