"""TensorRT's builder as strict as the real one, in both generations: 10.3 and 11.

What a generation lacks raises AttributeError, for setting too; failures are None or False with a line in the log. A
plan tells what it was built with, so that tests can read it.
"""

from __future__ import annotations

import json
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from tests.engines.tensorrt.fake_tensorrt import ILogger

GRAPH = b"\x08\x08 a graph"
CACHE = b"cache of "


class BuilderWorld:
    """One TensorRT; ``module`` is what ``import tensorrt`` would give."""

    def __init__(self, generation: int, *, inputs: tuple[tuple[str, tuple[int, ...]], ...] = (("x", (-1, 3)),)) -> None:
        self.generation, self.inputs = generation, inputs
        self.fails = ""
        self.config: Any = None
        self.caches_given: list[bytes] = []
        self.inspected: list[str] = []
        world = self

        class Levels(IntEnum):
            NONE, AMPERE_PLUS = 0, 1

        class NewerLevels(IntEnum):
            NONE, AMPERE_PLUS, SAME_COMPUTE_CAPABILITY = 0, 1, 2

        flags = {"TF32": 7, "GPU_FALLBACK": 3, "VERSION_COMPATIBLE": 14}
        precisions = {"FP16": 0, "INT8": 1, "BF16": 17} if generation == 10 else {}
        creation = {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1} if generation == 10 else {}

        class Builder:
            def __init__(self, logger: Any) -> None:
                self.logger = logger

            def create_network(self, creation_flags: int) -> Network | None:
                assert creation_flags == (2 if generation == 10 else 0), "not strongly typed"
                return world.given("network", self.logger, Network(world))

            def create_builder_config(self) -> Config | None:
                world.config = Config(world)
                return world.given("config", self.logger, world.config)

            def create_optimization_profile(self) -> Profile | None:
                return world.given("profile", self.logger, Profile(world))

            def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
                assert network.is_parsed, "built an empty network"
                return world.given("build", self.logger, config.built())

        class OnnxParser:
            def __init__(self, network: Network, logger: Any) -> None:
                self.network, self.logger, self.num_errors = network, logger, 0

            def parse(self, graph: bytes) -> bool:
                self.network.is_parsed = graph == GRAPH
                self.num_errors = int(not self.network.is_parsed)
                return self.network.is_parsed

            def get_error(self, number: int) -> Any:
                assert number < self.num_errors
                return SimpleNamespace(desc=lambda: "In node 3 (importX):\n unsupported operator X")

        class Runtime:
            def __init__(self, logger: Any) -> None:
                self.logger, self.engine_host_code_allowed = logger, False

            def deserialize_cuda_engine(self, plan: bytes) -> Any:
                if json.loads(plan)["flags"].count("VERSION_COMPATIBLE") > self.engine_host_code_allowed:
                    self.logger.log(ILogger.Severity.ERROR, "host code is not allowed")
                    return None
                return SimpleNamespace(create_engine_inspector=lambda: Inspector(world))

        class IProgressMonitor:
            def __init__(self) -> None:
                pass

        self.module = SimpleNamespace(
            __version__=f"{generation}.{3 if generation == 10 else 0}.0",
            ILogger=ILogger,
            Builder=Builder,
            OnnxParser=OnnxParser,
            Runtime=Runtime,
            IProgressMonitor=IProgressMonitor,
            NetworkDefinitionCreationFlag=SimpleNamespace(**creation),
            BuilderFlag=SimpleNamespace(**flags, **precisions),
            MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
            ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
            HardwareCompatibilityLevel=Levels if generation == 10 else NewerLevels,
            DeviceType=SimpleNamespace(GPU="gpu", DLA="dla"),
            LayerInformationFormat=SimpleNamespace(JSON="json"),
        )
        self.flag_names = {number: name for name, number in (*flags.items(), *precisions.items())}

    def given(self, what: str, logger: Any, value: Any) -> Any:
        if self.fails != what:
            return value
        logger.log(ILogger.Severity.ERROR, f"no room\n for the {what}")
        return None


class Network:
    def __init__(self, world: BuilderWorld) -> None:
        self.is_parsed = False
        self._inputs = [SimpleNamespace(name=name, shape=shape) for name, shape in world.inputs]

    @property
    def num_inputs(self) -> int:
        return len(self._inputs) if self.is_parsed else 0

    def get_input(self, number: int) -> Any:
        return self._inputs[number]


class Profile:
    def __init__(self, world: BuilderWorld) -> None:
        self._inputs = dict(world.inputs)
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, name: str, low: tuple[int, ...], usual: tuple[int, ...], high: tuple[int, ...]) -> None:
        for shape in (low, usual, high):
            fits = (free in (-1, size) for free, size in zip(self._inputs[name], shape, strict=True))
            assert all(fits), f"{name} cannot be {shape}"
        assert low <= usual <= high
        self.shapes[name] = [low, usual, high]


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def combine(self, other: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch, "another GPU's times would be taken"
        self.content = b"+".join(sorted({*self.content.split(b"+"), *other.content.split(b"+")} - {b""}))
        return True

    def serialize(self) -> bytes:
        return self.content


class Inspector:
    def __init__(self, world: BuilderWorld) -> None:
        self._world = world

    def get_engine_information(self, form: str) -> str:
        self._world.inspected.append(form)
        return json.dumps({"Layers": ["conv"]})


class Config:
    """Takes what this generation has, and nothing else."""

    KNOWN = (
        "profiling_verbosity",
        "progress_monitor",
        "hardware_compatibility_level",
        "default_device_type",
        "DLA_core",
    )

    def __init__(self, world: BuilderWorld) -> None:
        flags = {world.module.BuilderFlag.TF32}
        self.__dict__.update(world=world, flags=flags, profiles=[], pools={}, cache=None, given={})

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.KNOWN:
            raise AttributeError(f"no {name} in IBuilderConfig")
        self.given[name] = value

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pools[pool] = size

    def set_flag(self, flag: int) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: int) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: Profile) -> int:
        if self.world.fails == "add profile":
            return -1
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> TimingCache | None:
        self.world.caches_given.append(content)
        fits = not content or content.startswith(CACHE + self.world.module.__version__.encode())
        return TimingCache(content) if fits else None

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.__dict__["cache"] = cache
        return True

    def built(self) -> bytes:
        """The plan; its making is told to the monitor and its timings go into the cache."""
        monitor = self.given.get("progress_monitor")
        if monitor is not None:
            monitor.phase_start("tactics", None, 2)
            assert monitor.step_complete("tactics", 0)
            monitor.phase_finish("tactics")
        if self.cache is not None and not self.cache.content:
            self.cache.content = CACHE + self.world.module.__version__.encode()
        plain = {name: value for name, value in self.given.items() if name != "progress_monitor"}
        flags = sorted(self.world.flag_names[flag] for flag in self.flags)
        return json.dumps({"flags": flags, "profiles": self.profiles, "pools": self.pools, **plain}).encode()
