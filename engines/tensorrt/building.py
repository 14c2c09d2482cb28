"""One engine built by TensorRT's builder, in this process: called by ``build_process`` only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.errors import CheckpointError
from engines.tensorrt import timing_cache
from engines.tensorrt.api import Api
from engines.tensorrt.plan import BuildJob
from engines.whole_file import write_whole

Report = Callable[[str, float], None]


def build_engine(api: Api, job: BuildJob, report: Report) -> None:
    """Write the plan and its inspection. Raises CheckpointError for a graph that does not parse."""
    builder = api.checked(api.module.Builder(api.logger), "make a builder: is there a GPU?")
    network = api.checked(builder.create_network(api.network_flags()), "make a network")
    report("parse", 0.0)
    parser = _parse(api, network, Path(job.graph))
    config = api.checked(builder.create_builder_config(), "make a builder's settings")
    _configure(api, config, job)
    _add_profiles(api, builder, config, network, job)
    cache = _use_cache(api, config, Path(job.timing_cache))
    monitor = _monitor(api, report)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = api.checked(builder.build_serialized_network(network, config), "build the engine")
    del parser  # it holds the weights that the network points at, so it lives until here
    content = bytes(plan)
    _inspect(api, content, job)
    _keep_cache(config, cache, Path(job.timing_cache))
    write_whole(Path(job.engine), content)


def _parse(api: Api, network: Any, graph: Path) -> Any:
    parser = api.checked(api.module.OnnxParser(network, api.logger), "make an ONNX parser")
    if not parser.parse(graph.read_bytes()):
        errors = [" ".join(str(parser.get_error(number).desc()).split()) for number in range(parser.num_errors)]
        reason = "; ".join(errors[:2]) or api.failure("say why")
        raise CheckpointError(f"TensorRT {api.version} cannot parse the graph: {reason}; sanitise it, or use fp32")
    return parser


def _configure(api: Api, config: Any, job: BuildJob) -> None:
    if job.workspace_bytes is not None:
        config.set_memory_pool_limit(api.module.MemoryPoolType.WORKSPACE, job.workspace_bytes)
    config.profiling_verbosity = api.module.ProfilingVerbosity.DETAILED  # for the inspection
    if hasattr(api.module.BuilderFlag, "TF32"):
        config.clear_flag(api.module.BuilderFlag.TF32)  # float32 means float32: parity is held to that
    if job.version_compatible:
        config.set_flag(api.flag("VERSION_COMPATIBLE"))
    if job.hardware_compatibility != "none":
        level = getattr(api.module.HardwareCompatibilityLevel, job.hardware_compatibility.upper(), None)
        what = f"find hardware compatibility {job.hardware_compatibility}, which this version lacks"
        config.hardware_compatibility_level = api.checked(level, what)
    if job.dla is not None:
        config.default_device_type = api.module.DeviceType.DLA
        config.DLA_core = job.dla
        config.set_flag(api.flag("GPU_FALLBACK"))
    if job.sms:
        _aim(api, config, job.sms)


def _aim(api: Api, config: Any, sms: tuple[int, ...]) -> None:
    config.num_compute_capabilities = len(sms)
    for number, sm in enumerate(sms):
        capability = api.checked(getattr(api.module.ComputeCapability, f"SM{sm}", None), f"build for SM {sm}")
        api.checked(config.set_compute_capability(capability, number), f"build for SM {sm}")


def _add_profiles(api: Api, builder: Any, config: Any, network: Any, job: BuildJob) -> None:
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    for smallest, usual, largest in job.profiles:
        profile = api.checked(builder.create_optimization_profile(), "make an optimisation profile")
        for tensor in inputs:
            shapes = [_with_batch(tensor, batch) for batch in (smallest, usual, largest)]
            profile.set_shape(tensor.name, *shapes)
        if config.add_optimization_profile(profile) < 0:
            api.checked(None, f"take the batches {smallest}-{largest}")


def _with_batch(tensor: Any, batch: int) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    if not shape or -1 in shape[1:]:
        raise CheckpointError(
            f"{tensor.name} has shape {list(shape)}: only the first dimension may be free; sanitise it"
        )
    return (batch if shape[0] == -1 else shape[0], *shape[1:])


def _use_cache(api: Api, config: Any, path: Path) -> Any:
    """The kept cache; an empty one where there is none or another version or GPU made it."""
    cache = config.create_timing_cache(timing_cache.read(path))
    if cache is None or not config.set_timing_cache(cache, False):
        cache = api.checked(config.create_timing_cache(b""), "make a timing cache")
        api.checked(config.set_timing_cache(cache, False), "use an empty timing cache")
    return cache


def _keep_cache(config: Any, cache: Any, path: Path) -> None:
    """Together with what another build wrote in the meantime; it only saves time, so failures cost nothing else."""
    there = timing_cache.read(path)
    theirs = config.create_timing_cache(there) if there else None
    if theirs is not None:
        cache.combine(theirs, False)
    content = cache.serialize()
    if content is not None:
        timing_cache.write(path, bytes(content))


def _inspect(api: Api, plan: bytes, job: BuildJob) -> None:
    """The layers as the builder chose them; an engine for a GPU that is not here cannot be opened to ask."""
    text = "{}"
    if not job.sms:
        runtime = api.runtime()
        runtime.engine_host_code_allowed = job.version_compatible
        engine = api.checked(runtime.deserialize_cuda_engine(plan), "open the engine that it just built")
        inspector = api.checked(engine.create_engine_inspector(), "inspect the engine")
        text = str(inspector.get_engine_information(api.module.LayerInformationFormat.JSON))
    write_whole(Path(job.inspection), text.encode())


def _monitor(api: Api, report: Report) -> Any:
    """Tells each phase's share; None where this version has no progress monitor."""
    base = getattr(api.module, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[valid-type, misc]  # known only once TensorRT is imported
        """Called from the builder's threads."""

        def __init__(self) -> None:
            base.__init__(self)  # type: ignore[misc]  # as above
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:  # noqa: ARG002  # TensorRT's own
            self._steps[phase] = max(1, steps)
            report(phase, 0.0)

        def step_complete(self, phase: str, step: int) -> bool:
            report(phase, min(1.0, (step + 1) / self._steps.get(phase, 1)))
            return True

        def phase_finish(self, phase: str) -> None:
            report(phase, 1.0)

    return Monitor()
