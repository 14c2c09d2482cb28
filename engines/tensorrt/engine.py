"""A deserialised engine and its contexts, with TensorRT's None and False told as errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engines.errors import CheckpointError, InferenceError
from engines.runtime.ports import TensorSpec
from engines.tensorrt.api import Api
from engines.tensorrt.plan import Profile

DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


class LoadedContext:
    """One execution context, of one optimisation profile. Shapes and addresses stay until they are set anew."""

    def __init__(self, api: Api, context: Any) -> None:
        self._api, self._context = api, context

    def set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self._api.checked(self._context.set_input_shape(name, shape), f"take {name} in shape {list(shape)}")

    def set_address(self, name: str, address: int) -> None:
        self._api.checked(self._context.set_tensor_address(name, address), f"take an address for {name}")

    def enqueue(self, stream: int) -> None:
        """Queue one run."""
        self._api.checked(self._context.execute_async_v3(stream), "run the engine")


class LoadedEngine:
    """An engine whose tensors have one free dimension at most, the batch."""

    def __init__(self, api: Api, plan: bytes, *, may_hold_code: bool = False) -> None:
        """``may_hold_code``: version-compatible engines bring a runtime of their own. Raises CheckpointError."""
        self._api, self._runtime = api, api.runtime()
        if may_hold_code:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise CheckpointError(f"{api.failure('open the engine')}; build it again: build_engines.py --force")
        names = [str(self._engine.get_tensor_name(number)) for number in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == api.module.TensorIOMode.INPUT for name in names}
        self.inputs = self._specs(name for name in names if is_input[name])
        self.outputs = self._specs(name for name in names if not is_input[name])
        self.profiles = tuple(self._profile(number) for number in range(self._engine.num_optimization_profiles))

    def context(self, profile: int, stream: int) -> LoadedContext:
        """A new context with its own scratch memory, on the profile of this number."""
        context = self._api.checked(self._engine.create_execution_context(), "make an execution context")
        if profile:  # the first one is on already
            done = context.set_optimization_profile_async(profile, stream)
            self._api.checked(done, f"switch to profile {profile}")
        return LoadedContext(self._api, context)

    @property
    def context_bytes(self) -> int:
        """Scratch memory of one context."""
        return self._api.engine_memory(self._engine)

    def close(self) -> None:
        """The engine before its runtime, as TensorRT demands."""
        self._engine = None
        self._runtime = None

    def _specs(self, names: Iterable[str]) -> tuple[TensorSpec, ...]:
        return tuple(self._spec(name) for name in names)

    def _spec(self, name: str) -> TensorSpec:
        shape = tuple(int(size) for size in self._engine.get_tensor_shape(name))
        dtype = DTYPES.get(str(self._engine.get_tensor_dtype(name).name))
        if not shape or min(shape[1:], default=1) < 0 or dtype is None:
            raise CheckpointError(f"the engine's {name} is {dtype}{list(shape)}: only its first dimension may be free")
        return TensorSpec(name, (None if shape[0] < 0 else shape[0], *shape[1:]), dtype)

    def _profile(self, number: int) -> Profile:
        """The batches that every input takes."""
        fixed = self.inputs[0].shape[0]
        if fixed is not None:
            return fixed, fixed, fixed
        found = [self._engine.get_tensor_profile_shape(spec.name, number) for spec in self.inputs]
        if any(len(shapes) != 3 for shapes in found):
            raise InferenceError(self._api.failure(f"read profile {number}"))
        smallest, usual, largest = (int(shape[0]) for shape in found[0])
        return smallest, usual, largest
