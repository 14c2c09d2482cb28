"""What stands before a backend to look at its runs."""

from __future__ import annotations

from collections.abc import Mapping

from engines.runtime.ports import Array, Backend, TensorSpec


class WrappedBackend:
    """Says of itself what the inner one says; a subclass looks at what passes."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inner.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._inner.outputs

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._inner.infer(arrays)

    def close(self) -> None:
        self._inner.close()
