"""TensorRT's rules of compatibility, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.store import EngineKey
from engines.tensorrt.travel import holds_code, key_on

A10, A100, T4, H200 = "NVIDIA A10 sm_86", "NVIDIA A100 sm_80", "Tesla T4 sm_75", "NVIDIA H200 sm_90"
A6000, ORIN, OTHER_ORIN = "RTX A6000 sm_86", "Orin sm_87 L4T 36.3", "Orin sm_87 L4T 36.4.3"
VERSIONS, AMPERE_PLUS = "version_compatible=1", "hardware_compatibility=ampere_plus"
SAME = "hardware_compatibility=same_compute_capability"


@pytest.mark.parametrize(
    ("options", "built", "here", "fits"),
    [
        ((), ("10.3.0", A10), ("10.3.0", A10), True),
        ((), ("10.3.0", A10), ("10.3.1", A10), False),
        ((), ("10.3.0", A10), ("10.3.0", A6000), False),
        ((VERSIONS,), ("10.3.0", A10), ("10.3.1", A10), True),
        ((VERSIONS,), ("10.3.0", A10), ("10.16.1", A10), True),
        ((VERSIONS,), ("10.7.0", A10), ("10.3.0", A10), False),
        ((VERSIONS,), ("10.7.0", A10), ("11.0.0", A10), False),
        ((VERSIONS,), ("10.3.0", A10), ("10.7.0", A6000), False),
        (("version_compatible=0",), ("10.3.0", A10), ("10.7.0", A10), False),
        ((AMPERE_PLUS,), ("10.3.0", A10), ("10.3.0", H200), True),
        ((AMPERE_PLUS,), ("10.3.0", H200), ("10.3.0", A100), True),
        ((AMPERE_PLUS,), ("10.3.0", A10), ("10.3.0", T4), False),
        ((AMPERE_PLUS,), ("10.3.0", T4), ("10.3.0", A10), False),
        ((AMPERE_PLUS,), ("10.3.0", A10), ("10.3.0", ORIN), False),
        ((AMPERE_PLUS,), ("10.3.0", ORIN), ("10.3.0", OTHER_ORIN), False),
        ((AMPERE_PLUS,), ("10.3.0", A10), ("10.7.0", H200), False),
        ((VERSIONS, AMPERE_PLUS), ("10.3.0", A10), ("10.7.0", H200), True),
        ((SAME,), ("10.3.0", A10), ("10.3.0", A6000), True),
        ((SAME,), ("10.3.0", A10), ("10.3.0", A100), False),
        ((SAME,), ("10.3.0", ORIN), ("10.3.0", OTHER_ORIN), False),
        ((SAME,), ("10.3.0", "a GPU"), ("10.3.0", "another GPU"), False),
        ((), ("1.7.0", "sm_80+sm_86"), ("1.7.0", A10), True),
        ((), ("1.7.0", "sm_75+sm_80"), ("1.7.0", A10), False),
        ((), ("1.6.0", "sm_80+sm_86"), ("1.7.0", A10), False),
    ],
)
def test_an_engine_travels_as_far_as_its_options_say(
    options: tuple[str, ...], built: tuple[str, str], here: tuple[str, str], fits: bool
) -> None:
    key = EngineKey("m", "backbone.onnx", "ab", "tensorrt", *built, options=options)
    assert (key_on(key, *here) == key) is fits


def test_a_recipe_does_not_travel() -> None:
    key = EngineKey("m", "backbone.onnx", "ab", "tensorrt", "10.3.0", A10, options=(VERSIONS,), recipe="0")
    assert key_on(key, "10.3.0", A10) == replace(key, recipe=EngineKey.recipe)


@pytest.mark.parametrize(("options", "holds"), [((), False), ((VERSIONS,), True), (("version_compatible=0",), False)])
def test_only_version_compatible_engines_bring_a_runtime(options: tuple[str, ...], holds: bool) -> None:
    assert holds_code(EngineKey("m", "backbone.onnx", "ab", "tensorrt", "10.3.0", A10, options=options)) is holds
