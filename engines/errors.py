"""Errors of the tensor side.

EngineError
├── SpecError           a spec that is missing, malformed, or of another version
├── CheckpointError     weights that are missing, truncated, or of another model
├── RuntimeMissingError a runtime this machine does not have
├── BuildError          an engine that could not be built, with the stage at which it failed
└── InferenceError      a runtime that refused its input or failed while running

Every message is one line that ends with what to do.
"""

from __future__ import annotations


class EngineError(Exception):
    """Anything that stops a model from being loaded or run."""


class SpecError(EngineError):
    """A model's spec cannot be read."""


class CheckpointError(EngineError):
    """A weights file cannot be used."""


class RuntimeMissingError(EngineError):
    """The asked-for runtime is not on this machine."""


class BuildError(EngineError):
    """An engine could not be built; nothing of it is left."""

    def __init__(self, stage: str, reason: str) -> None:
        """``reason``: one line that ends with the way out."""
        super().__init__(f"{stage}: {reason}")
        self.stage = stage


class InferenceError(EngineError):
    """A loaded model could not be run on the given arrays."""
