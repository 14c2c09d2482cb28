"""A backend that is a plain Python function: the fake that tests run the whole application on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engines.errors import InferenceError
from engines.runtime.ports import Array, TensorSpec, check_inputs


class ScriptedBackend:
    """Checks its inputs as strictly as a real runtime, then calls ``function``."""

    name = "scripted"

    def __init__(
        self,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        function: Callable[[Mapping[str, Array]], dict[str, Array]],
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._function: Callable[[Mapping[str, Array]], dict[str, Array]] | None = function
        self.calls = 0

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if self._function is None:
            raise InferenceError("the model was closed: load it again")
        check_inputs(self.inputs, arrays)
        self.calls += 1
        outputs = self._function(arrays)
        check_inputs(self.outputs, outputs)
        return outputs

    def close(self) -> None:
        self._function = None
