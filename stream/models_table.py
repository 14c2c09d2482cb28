"""``unmask models``: the catalog with what of it is on this machine and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich import box
from rich.table import Table

from engines.catalog import CATALOG, DEFAULT_MODEL, SPEC_FILE, CatalogRow
from engines.errors import SpecError
from engines.model_store import find_model
from engines.runtime.table import runtimes_here
from engines.spec import load_spec

AUC = "val_frame_auc"
"""Of ``measured``: single frames of the val parts, one a video."""


@dataclass(frozen=True)
class ModelRow:
    """One row of the table."""

    name: str
    kind: str
    summary: str
    parameters: int
    """As Keras counts."""
    input_size: int | None
    """Side of the input in pixels; None for a head alone."""
    features: int
    runtimes: tuple[str, ...]
    weights: Literal["shipped", "own", "none"]
    measured: dict[str, float]
    """From the weights' spec; empty when nothing was measured of them."""
    auc: float | None
    default: bool
    problem: str | None = None
    """Why weights that are here cannot be used."""

    def to_json(self) -> dict[str, Any]:
        """Every field by its name."""
        return asdict(self) | {"runtimes": list(self.runtimes)}


def model_rows() -> list[ModelRow]:
    """Every row of the catalog, the default first."""
    return [_row(row) for row in CATALOG.values()]


def models_table(rows: Sequence[ModelRow]) -> Table:
    """For people; as wide as a terminal that nobody widened."""
    default = next((row.name for row in rows if row.default), "none")
    table = Table(
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
        caption=f"default: {default}; AUC of single frames of the val parts",
    )
    for heading in ("model", "kind", "parameters", "input", "features", "weights", "AUC"):
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


_NUMBERS = {"parameters", "input", "features", "AUC"}


def _row(row: CatalogRow) -> ModelRow:
    place = find_model(row.name)
    spec, problem = None, None
    try:
        spec = None if place is None else load_spec(place.folder / SPEC_FILE)
    except SpecError as error:
        problem = str(error)
    measured = {} if spec is None else spec.measured
    return ModelRow(
        name=row.name,
        kind=row.kind,
        summary=row.summary,
        parameters=row.parameters,
        input_size=row.input_size if spec is None or row.input_size is None else spec.pixels.size,
        features=row.feature_dim,
        runtimes=runtimes_here(),
        weights="none" if place is None else place.owner,
        measured=measured,
        auc=measured.get(AUC),
        default=row.name == DEFAULT_MODEL,
        problem=problem,
    )


def _cells(row: ModelRow) -> tuple[str, ...]:
    return (
        row.name,
        row.kind,
        f"{row.parameters:,}",
        "-" if row.input_size is None else f"{row.input_size} px",
        f"{row.features:,}",
        row.weights if row.problem is None else "damaged",
        "-" if row.auc is None else f"{row.auc:.3f}",
    )
