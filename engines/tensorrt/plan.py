"""What a build is asked for, as values: optimisation profiles and the options' closed set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engines.errors import InferenceError
from engines.tensorrt.api import Kind

RTX_SMS = (75, 80, 86, 89, 120)
"""That TensorRT for RTX can build for without having one. Measured with 1.7: for 75 it takes no float32 matrix product
("FP32 GEMM is not supported"), so a model with one builds for 75 in fp16 only."""
HARDWARE = ("none", "ampere_plus", "same_compute_capability")
OPTIONS = ("sm", "profiles", "hardware_compatibility", "version_compatible", "dla")

Profile = tuple[int, int, int]
"""Smallest, usual and largest batch."""


@dataclass(frozen=True)
class BuildJob:
    """All that the process that builds needs to know."""

    kind: Kind
    graph: str
    """Path of the ONNX graph."""
    engine: str
    """Path of the plan to write."""
    inspection: str
    """Path of the layers' JSON to write."""
    timing_cache: str
    profiles: tuple[Profile, ...]
    workspace_bytes: int | None = None
    sms: tuple[int, ...] = ()
    """To build for without having them; () is the GPU that is here."""
    hardware_compatibility: str = "none"
    version_compatible: bool = False
    dla: int | None = None

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))


def job_from(text: str) -> BuildJob:
    raw: dict[str, Any] = json.loads(text)
    lists = {"profiles": tuple(tuple(item) for item in raw["profiles"]), "sms": tuple(raw["sms"])}
    return BuildJob(**{**raw, **lists})


def profiles_of(batches: tuple[int, ...], how: str = "one") -> tuple[Profile, ...]:
    """``one``: one profile over all batches, best at the middle one. ``each``: one for each batch, best at that.

    Raises InferenceError for batches that are none.
    """
    ordered = tuple(sorted(set(batches)))
    if not ordered or ordered[0] < 1:
        raise InferenceError(f"no batches {list(batches)}: give whole numbers from 1 on, such as 1,8,32")
    if how == "one":
        return ((ordered[0], ordered[len(ordered) // 2], ordered[-1]),)
    if how == "each":
        starts = (ordered[0], *(batch + 1 for batch in ordered[:-1]))
        return tuple((start, batch, batch) for start, batch in zip(starts, ordered, strict=True))
    raise InferenceError(f"profiles={how} is unknown: use one or each")


def sms_of(options: Mapping[str, str]) -> tuple[int, ...]:
    """Of ``sm=75,86`` or ``sm=all``; () without it. Raises InferenceError for one that cannot be built for."""
    text = options.get("sm", "")
    if text == "all":
        return RTX_SMS
    sms = tuple(sorted({_number("sm", part) for part in text.split(",") if part.strip()}))
    if wrong := [sm for sm in sms if sm not in RTX_SMS]:
        raise InferenceError(f"sm={wrong[0]} cannot be built ahead of time: use of {', '.join(map(str, RTX_SMS))}")
    return sms


def machine_of(sms: tuple[int, ...]) -> str:
    """For the engine key of an ahead-of-time build."""
    return "+".join(f"sm_{sm}" for sm in sms)


def fits_machine(built: str, here: str) -> bool:
    """Whether an engine whose key says ``built`` may run on ``here`` (a Gpu's ``machine``)."""
    words = here.split()
    return built == here or any(name in words for name in built.split("+") if name.startswith("sm_"))


def checked_options(kind: Kind, options: Mapping[str, str]) -> None:
    """Raise InferenceError for an option that is unknown, or that this kind of TensorRT cannot honour."""
    unknown = sorted(set(options) - set(OPTIONS) - {"calibration"})
    if unknown:
        raise InferenceError(f"no option {unknown[0]}: use of {', '.join(OPTIONS)}")
    if options.get("hardware_compatibility", "none") not in HARDWARE:
        raise InferenceError(f"hardware_compatibility is one of {', '.join(HARDWARE)}")
    if kind == "tensorrt" and "sm" in options:
        raise InferenceError("TensorRT builds for the GPU that is here: sm=… is for tensorrt-rtx")
    if kind == "tensorrt_rtx" and {"dla", "hardware_compatibility", "version_compatible"} & set(options):
        raise InferenceError("tensorrt-rtx takes only sm=… and profiles=…: the others are for tensorrt")


def dla_of(options: Mapping[str, str]) -> int | None:
    return _number("dla", options["dla"]) if "dla" in options else None


def _number(name: str, text: str) -> int:
    if not text.strip().isdigit():
        raise InferenceError(f"{name}={text} is no whole number")
    return int(text)
