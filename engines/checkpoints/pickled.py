"""Torch's own files, read without executing anything in them."""

from __future__ import annotations

import pickle  # nosec B403 # for the name of its error
import struct
from pathlib import Path
from typing import Any

import torch

UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError, struct.error)
"""What torch raises on a file that is damaged, hostile or of another network, as found by feeding it some."""


def read_pickled(path: Path) -> dict[str, Any]:
    """Tensors and plain values only. Raises one of UNREADABLE."""
    parts = torch.load(path, weights_only=True, map_location="cpu")
    if not isinstance(parts, dict):
        raise ValueError(f"{path} holds no dictionary")
    return parts
