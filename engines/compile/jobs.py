"""What is to be built: a graph, for a runtime, in a precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.engine_choice import Graph
from engines.runtime.ports import Array
from engines.spec import ModelSpec
from engines.store import EngineKey


@dataclass(frozen=True, repr=False)
class Subject:
    """A graph with what it is asked."""

    graph: Graph
    inputs: Sequence[Mapping[str, Array]]
    """Batches of one that parity is judged on; the first is what is timed."""
    spec: ModelSpec | None = None
    """None of a face detector."""
    real: int = 0
    """So many of the inputs come first and are faces."""
    labels: tuple[int, ...] = ()
    """Of those, 1 = fake; empty where nobody knows."""

    @property
    def source(self) -> bytes:
        """The ONNX file's bytes."""
        given = self.graph.source
        return given.read_bytes() if isinstance(given, Path) else given

    @property
    def promise(self) -> dict[str, Any]:
        """Of its spec, for the manifest."""
        if self.spec is None:
            return {}
        return self.spec.model_dump(mode="json", include={"pixels", "window", "positive_class", "calibration"})


@dataclass(frozen=True, repr=False)
class BuildJob:
    """One engine to build."""

    subject: Subject
    key: EngineKey

    @property
    def options(self) -> dict[str, str]:
        """The key's choices by name."""
        return dict(choice.partition("=")[::2] for choice in self.key.options)

    @property
    def workspace_bytes(self) -> int | None:
        given = self.options.get("workspace")
        return None if given is None else int(given)
