"""Where models lie on this machine: those this package ships, and a user's own, which come first."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SHIPPED = Path(__file__).parent / "weights"
SPEC_FILE = "spec.json"
VARIABLE = "UNMASK_MODELS"
"""Names the folder of the user's own models in place of ``$XDG_DATA_HOME/unmask/models``."""


@dataclass(frozen=True)
class ModelPlace:
    """A model's folder and whose it is."""

    folder: Path
    owner: Literal["own", "shipped"]


def own_models(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of imported and trained models, a folder each; it need not exist."""
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE]).expanduser()
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "unmask" / "models"


def own_folder(name: str) -> Path:
    """Where a user's own model of that name belongs. Raises ValueError for what is no plain name."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(f"{name!r} cannot be a model's name: use letters, digits and dashes")
    return own_models() / name


def find_model(name: str) -> ModelPlace | None:
    """The folder with a spec under that name, the user's own before the shipped one; None when there is neither."""
    try:
        own = own_folder(name)
    except ValueError:
        return None
    if (own / SPEC_FILE).is_file():
        return ModelPlace(own, "own")
    return ModelPlace(SHIPPED / name, "shipped") if (SHIPPED / name / SPEC_FILE).is_file() else None
