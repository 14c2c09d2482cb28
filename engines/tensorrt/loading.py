"""From an engine's file to its bytes: the hash first, then the key, and only then anybody reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines.errors import CheckpointError
from engines.store import RECIPE, EngineKey, Manifest, damaged, differences, read_manifest
from engines.tensorrt.api import version_pair
from engines.tensorrt.plan import fits_machine

AGAIN = "build it again: build_engines.py --force"
ONNX_START = b"\x08"
"""An ONNX graph's first field is its IR version."""
AMPERE = 80


def checked_plan(engine: Path, runtime: str, version: str, machine: str) -> tuple[bytes, Manifest]:
    """The bytes that the manifest beside ``engine`` names, if they are whole and made for this machine.

    Raises CheckpointError with one line that says what differs.
    """
    manifest = read_manifest(engine.parent)
    if manifest is None or manifest.engine_file != engine.name:
        raise CheckpointError(f"{engine} has no manifest that names it: {AGAIN}")
    if broken := damaged(engine.parent, manifest):
        raise CheckpointError(f"{broken[0]} of {engine.parent} is missing or was changed (SHA-256 differs): {AGAIN}")
    here = key_here(manifest.key, runtime, version, machine)
    if wrong := differences(manifest.key, here):
        raise CheckpointError(f"{engine} does not fit this machine: {'; '.join(wrong)}; {AGAIN}")
    return engine.read_bytes(), manifest


def key_here(built: EngineKey, runtime: str, version: str, machine: str) -> EngineKey:
    """``built`` as this machine would key it, as far as its options let it travel."""
    return replace(
        built,
        runtime=runtime,
        runtime_version=built.runtime_version if _takes_version(built, version) else version,
        machine=built.machine if _takes_machine(built, machine) else machine,
        recipe=RECIPE,
    )


def holds_code(key: EngineKey) -> bool:
    """Whether the engine brings a runtime of its own, which must be allowed."""
    return "version_compatible=1" in key.options


def refuse_graph(content: bytes) -> None:
    """Raise CheckpointError for what is an ONNX graph and no engine."""
    if not content or content.startswith(ONNX_START):
        raise CheckpointError("TensorRT runs engines and this is a graph: run build_engines.py --runtime tensorrt")


def _takes_version(built: EngineKey, version: str) -> bool:
    """Version-compatible engines run on what is as new or newer, of the same major."""
    if built.runtime_version == version or not holds_code(built):
        return built.runtime_version == version
    then, now = version_pair(built.runtime_version), version_pair(version)
    return then[0] == now[0] and then[1] <= now[1]


def _takes_machine(built: EngineKey, machine: str) -> bool:
    if fits_machine(built.machine, machine):
        return True
    then, now = _sm(built.machine), _sm(machine)
    if "hardware_compatibility=ampere_plus" in built.options:
        return min(then, now) >= AMPERE and "L4T" not in built.machine + machine  # NVIDIA: not on Jetson
    return "hardware_compatibility=same_compute_capability" in built.options and then == now != 0


def _sm(machine: str) -> int:
    numbers = [word[3:] for word in machine.split() if word.startswith("sm_") and word[3:].isdigit()]
    return int(numbers[0]) if numbers else 0
