"""A backend whose runtime can change while it is used: a built engine comes in, a failing one goes out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engines.errors import CheckpointError, EngineError, InferenceError
from engines.runtime.ports import Array, Backend, TensorSpec, check_inputs

ChangeReason = Literal["built", "failed"]


@dataclass(frozen=True)
class RuntimeChange:
    """Told once for each change, on the thread that made it."""

    model: str
    graph: str
    """File name of the graph, such as ``backbone.onnx``."""
    before: str
    after: str
    reason: ChangeReason
    detail: str = ""
    """In one line for people: what failed, or why the new one is better."""
    precision: str = "fp32"
    """Of ``after``."""


@dataclass(frozen=True)
class Fallback:
    """What takes over, for good, when a runtime fails."""

    name: str
    """The backend's; when that one fails itself, the failure is the caller's."""
    open: Callable[[], Backend]
    """Called when it is needed. May raise EngineError."""


class SwappableBackend:
    """Runs on ``first`` until another is swapped in or it fails. Safe from any thread; one call runs at a time.

    All backends that it is given are its to close.
    """

    def __init__(
        self,
        first: Backend,
        on_change: Callable[[RuntimeChange], None] = lambda _: None,
        *,
        model: str = "",
        graph: str = "",
        fallback: Fallback | None = None,
        runs_fallback: bool = False,
    ) -> None:
        """``fallback``: None leaves failures to the caller; ``runs_fallback``: ``first`` is one already.

        ``on_change`` must return at once and not raise.
        """
        self.inputs = first.inputs
        self.outputs = first.outputs
        self._current = first
        self._on_change = on_change
        self._model, self._graph = model, graph
        self._fallback = fallback
        self._is_fallback = runs_fallback
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Of the runtime that answers now."""
        return self._current.name

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """As any backend; a runtime that fails or gives what is not a number is left for the fallback, which answers.

        Arrays that do not fit are the caller's mistake and change nothing.
        """
        with self._lock:
            if self._is_closed:
                raise InferenceError("the model was closed: load it again")
            check_inputs(self.inputs, arrays)
            try:
                return _answer(self._current, arrays)
            except InferenceError as error:
                answer, change = self._fall_back(arrays, error)
        self._on_change(change)
        return answer

    @property
    def infer_device(self) -> Callable[[Mapping[str, int], int], dict[str, Array]] | None:
        """As the backend's that answers now; None while that one reads no device memory."""
        return self._infer_device if hasattr(self._current, "infer_device") else None

    def swap(self, other: Backend, reason: ChangeReason = "built", detail: str = "", precision: str = "fp32") -> bool:
        """Run on ``other`` from the next call on, and close the one before.

        False when this is closed already: ``other`` then is, too. Raises CheckpointError, and leaves ``other`` to the
        caller, when it is not of the same tensors.
        """
        _refuse_others(self, other)
        with self._lock:
            is_late = self._is_closed
            before = other if is_late else self._current
            if not is_late:
                self._current, self._is_fallback = other, False
        before.close()
        if not is_late:
            self._on_change(self._change(before, other, reason, detail, precision))
        return not is_late

    def close(self) -> None:
        """Once the call that runs has ended."""
        with self._lock:
            self._is_closed = True
            self._current.close()

    def _infer_device(self, pointers: Mapping[str, int], batch: int) -> dict[str, Array]:
        """The fallback cannot read what lies there: a failure is the caller's, and the next call the fallback's."""
        with self._lock:
            infer = getattr(self._current, "infer_device", None)
            if infer is None:
                raise InferenceError(f"{self.name} took over and reads no device memory: try again")
            try:
                return _finite(self._current, infer(pointers, batch))
            except InferenceError as error:
                failure, change = error, self._replaced_by(self._opened_fallback(error), error)
        self._on_change(change)
        raise failure

    def _fall_back(self, arrays: Mapping[str, Array], error: InferenceError) -> tuple[dict[str, Array], RuntimeChange]:
        """With the lock held. Raises the failure itself when there is nothing to fall back to."""
        fallback = self._opened_fallback(error)
        try:
            answer = _answer(fallback, arrays)
        except InferenceError:
            fallback.close()
            raise error from None
        return answer, self._replaced_by(fallback, error)

    def _replaced_by(self, fallback: Backend, error: InferenceError) -> RuntimeChange:
        failed, self._current, self._is_fallback = self._current, fallback, True
        failed.close()
        return self._change(failed, fallback, "failed", str(error))

    def _opened_fallback(self, error: InferenceError) -> Backend:
        if self._fallback is None or self._is_fallback:
            raise error
        try:
            return self._fallback.open()
        except EngineError:
            raise error from None

    def _change(
        self, before: Backend, after: Backend, reason: ChangeReason, detail: str, precision: str = "fp32"
    ) -> RuntimeChange:
        return RuntimeChange(self._model, self._graph, before.name, after.name, reason, detail, precision)


def _answer(backend: Backend, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return _finite(backend, backend.infer(arrays))


def _finite(backend: Backend, outputs: dict[str, Array]) -> dict[str, Array]:
    for name, values in outputs.items():
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise InferenceError(f"{backend.name} gave a {name!r} that is not a number: export the model again")
    return outputs


def _refuse_others(have: Backend, other: Backend) -> None:
    for ours, theirs in ((have.inputs, other.inputs), (have.outputs, other.outputs)):
        known, given = {spec.name: spec for spec in ours}, {spec.name: spec for spec in theirs}
        if set(known) != set(given) or not all(_fits(known[name], given[name]) for name in known):
            raise CheckpointError(
                f"{other.name} has {_told(theirs)} where {have.name} has {_told(ours)}: build the engine again"
            )


def _fits(ours: TensorSpec, theirs: TensorSpec) -> bool:
    """A dimension that one of them leaves open fits any."""
    return (ours.dtype, len(ours.shape)) == (theirs.dtype, len(theirs.shape)) and all(
        None in pair or pair[0] == pair[1] for pair in zip(ours.shape, theirs.shape, strict=True)
    )


def _told(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in specs)
