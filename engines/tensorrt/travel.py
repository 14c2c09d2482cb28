"""How far a TensorRT engine may travel from the machine and the version that built it, by what its key says.

NVIDIA's rules ("Engine Compatibility" in TensorRT's documentation). By itself an engine runs on the version and the GPU
that it was built with. Version-compatible ones run on newer versions; across majors only some do, so no major is
crossed here. Hardware-compatible ones run on other GPUs of a desktop or a server, never on a Jetson. An ahead-of-time
engine of TensorRT for RTX runs on the SMs that it names.
"""

from __future__ import annotations

from dataclasses import replace

from engines.store import RECIPE, EngineKey
from engines.tensorrt.api import version_pair
from engines.tensorrt.plan import fits_machine

AMPERE = 80


def key_on(built: EngineKey, version: str, machine: str) -> EngineKey:
    """``built`` as a machine would key it today, as far as its options let it travel: equal means that it fits."""
    return replace(
        built,
        runtime_version=built.runtime_version if _takes_version(built, version) else version,
        machine=built.machine if _takes_machine(built, machine) else machine,
        recipe=RECIPE,
    )


def holds_code(key: EngineKey) -> bool:
    """Whether the engine brings a runtime of its own, which must be allowed."""
    return "version_compatible=1" in key.options


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
    if "L4T" in built.machine + machine:
        return False
    if "hardware_compatibility=ampere_plus" in built.options:
        return min(then, now) >= AMPERE
    return "hardware_compatibility=same_compute_capability" in built.options and then == now != 0


def _sm(machine: str) -> int:
    """0 of what names none, or several."""
    numbers = [word[3:] for word in machine.split() if word.startswith("sm_") and word[3:].isdigit()]
    return int(numbers[0]) if numbers else 0
