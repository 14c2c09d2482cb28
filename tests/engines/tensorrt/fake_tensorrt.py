"""TensorRT as strict as the real one, in both generations, computing y = 2 x on a fake GPU.

What a generation lacks raises AttributeError; failures are None or False; a run demands shapes within the profile and
addresses of live memory.
"""

from __future__ import annotations

import json
from collections import namedtuple
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.engines.tensorrt.fake_cuda import FakeCuda

DataType = namedtuple("DataType", "name")


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None:
        pass


def plan(
    profiles: Any = ((1, 2, 4),), width: int = 3, shape0: int = -1, y_shape: tuple[int, ...] | None = None
) -> bytes:
    """``y_shape``: where it is another one than x's."""
    return b"ftrt" + json.dumps({"profiles": profiles, "width": width, "shape0": shape0, "y_shape": y_shape}).encode()


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.world = engine, engine.world
        self.profile, self.shapes, self.addresses = 0, {}, {}
        self.runs = 0
        self.world.contexts_made += 1

    def set_optimization_profile_async(self, number: int, stream: int) -> bool:
        self.world.cuda.need_stream(stream)
        self.profile = number
        return 0 <= number < len(self.engine.raw["profiles"])

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self.engine.raw["profiles"][self.profile]
        if name != "x" or shape[1:] != (self.engine.raw["width"],) or not low <= shape[0] <= high:
            self.world.log("shape is outside the profile")
            return False
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return name in ("x", "y")

    def execute_async_v3(self, stream: int) -> bool:
        if self.world.fails_to_run or set(self.addresses) != {"x", "y"} or "x" not in self.shapes:
            self.world.log("addresses or shapes are not set")
            return False
        shape, addresses = self.shapes["x"], dict(self.addresses)
        if self.runs == 0 and self.world.cuda.capturing is not None:
            return False  # the first run after a change of shapes cannot be captured
        self.runs += 1

        def run() -> None:
            x = self.world.cuda.read(addresses["x"], 4 * int(np.prod(shape))).view(np.float32)
            self.world.cuda.write(addresses["y"], (2 * x).view(np.uint8))

        self.world.cuda.queue(stream, run)
        return True


class Engine:
    def __init__(self, world: World, raw: dict[str, Any]) -> None:
        self.world, self.raw = world, raw
        self.num_io_tensors, self.num_optimization_profiles = 2, len(raw["profiles"])
        if world.generation == 10:
            self.device_memory_size = 64
        self.device_memory_size_v2 = 64

    def get_tensor_name(self, number: int) -> str:
        return ("x", "y")[number]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "x" else "out"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name == "y" and self.raw["y_shape"]:
            return tuple(self.raw["y_shape"])
        return self.raw["shape0"], self.raw["width"]

    def get_tensor_dtype(self, name: str) -> DataType:  # noqa: ARG002
        return DataType("FLOAT")

    def get_tensor_profile_shape(self, name: str, number: int) -> list[tuple[int, ...]]:  # noqa: ARG002
        return [(batch, self.raw["width"]) for batch in self.raw["profiles"][number]]

    def create_execution_context(self) -> Context | None:
        return None if self.world.lacks_memory else Context(self)

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda _format: '{"Layers": []}')


class Runtime:
    def __init__(self, logger: Any) -> None:
        self.logger = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        if not content.startswith(b"ftrt"):
            self.logger.log(ILogger.Severity.ERROR, "magic tag\n does not match")
            return None
        world: World = self.logger.world
        world.loggers.append(self.logger)
        return Engine(world, json.loads(content[4:]))


class World:
    """One fake TensorRT of a generation on one fake GPU: ``module`` is what ``import tensorrt`` would give."""

    def __init__(self, generation: int = 10, cuda: FakeCuda | None = None) -> None:
        self.generation, self.cuda = generation, cuda or FakeCuda()
        self.fails_to_run = self.lacks_memory = False
        self.contexts_made = 0
        self.loggers: list[Any] = []
        flags = {"STRONGLY_TYPED": 1} if generation == 10 else {}
        world = self

        class Logger(ILogger):
            pass

        Logger.world = world  # type: ignore[attr-defined]
        self.module = SimpleNamespace(
            __version__=f"{generation}.3.0",
            ILogger=Logger,
            Builder=object,
            Runtime=Runtime,
            NetworkDefinitionCreationFlag=SimpleNamespace(**flags),
            BuilderFlag=SimpleNamespace(VERSION_COMPATIBLE=1, GPU_FALLBACK=2, TF32=3),
            TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"),
        )

    def log(self, line: str) -> None:
        for logger in self.loggers:
            logger.log(ILogger.Severity.ERROR, line)
