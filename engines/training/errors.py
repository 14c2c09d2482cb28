"""What stops a training run, beside the errors of ``engines.errors``."""

from __future__ import annotations

from engines.errors import EngineError


class TrainingError(EngineError):
    """A recipe, a data set or a resumed run that cannot be used. One line that says what to do."""
