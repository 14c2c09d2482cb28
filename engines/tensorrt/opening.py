"""What both runtimes' modules offer, for either kind of TensorRT."""

from __future__ import annotations

from pathlib import Path

from engines.errors import RuntimeMissingError
from engines.tensorrt import driver, presence
from engines.tensorrt.api import Kind, load
from engines.tensorrt.cuda_ports import Cuda
from engines.tensorrt.engine import LoadedEngine
from engines.tensorrt.executor import TensorRtBackend
from engines.tensorrt.loading import checked_plan, refuse_graph
from engines.tensorrt.travel import holds_code

NAMES: dict[Kind, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}


def unavailable(kind: Kind) -> str | None:
    """Why no engine can run here, and the way out. Imports neither TensorRT nor pycuda."""
    return driver.unavailable() or presence.installed(kind) or presence.pycuda_missing()


def version(kind: Kind) -> str:
    """In full. Raises RuntimeMissingError."""
    return presence.version(kind) or load(kind).version


def open_engine(kind: Kind, model: Path | bytes) -> TensorRtBackend:
    """``model``: an engine's file beside its manifest, or bytes that the caller has just built or checked itself.

    Raises RuntimeMissingError or CheckpointError with one line.
    """
    if (reason := unavailable(kind)) is not None:
        raise RuntimeMissingError(reason)
    may_hold_code = False
    if isinstance(model, Path):
        plan, manifest = checked_plan(model, NAMES[kind], version(kind), driver.find_gpu().machine)
        may_hold_code = holds_code(manifest.key)
    else:
        plan = model
    refuse_graph(plan)

    def opener() -> tuple[Cuda, LoadedEngine]:
        from engines.tensorrt.pycuda_port import PycudaCuda

        cuda = PycudaCuda()
        try:
            return cuda, LoadedEngine(load(kind), plan, may_hold_code=may_hold_code)
        except BaseException:
            cuda.close()
            raise

    return TensorRtBackend(NAMES[kind], opener)
