from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engines.errors import InferenceError, RuntimeMissingError
from engines.tensorrt.api import Api, load, version_pair
from tests.engines.tensorrt.fake_tensorrt import World


@pytest.mark.parametrize(("generation", "flags"), [(10, 2), (11, 0)])
def test_networks_are_strongly_typed_in_every_generation(generation: int, flags: int) -> None:
    assert Api(World(generation).module, "tensorrt").network_flags() == flags


@pytest.mark.parametrize("value", [None, False])
def test_nothing_from_tensorrt_is_an_error_in_its_own_words(value: Any) -> None:
    api = Api(World().module, "tensorrt")
    for level, line in ((1, "first\n cause"), (3, "chatter"), (2, "second")):
        api.logger.log(api.module.ILogger.Severity(level), line)
    with pytest.raises(InferenceError) as caught:
        api.checked(value, "do it")
    assert str(caught.value) == "TensorRT 10.3.0 could not do it: first cause; second"


@pytest.mark.parametrize("value", [0, 1, True, b"", "x"])
def test_what_is_there_is_passed_on(value: Any) -> None:
    assert Api(World().module, "tensorrt").checked(value, "do it") is value


def test_a_flag_that_a_generation_lacks_is_named() -> None:
    with pytest.raises(InferenceError, match="builder flag FP16, which this version lacks"):
        Api(World(11).module, "tensorrt").flag("FP16")


def test_scratch_memory_is_asked_for_by_the_name_that_is_there() -> None:
    api = Api(World().module, "tensorrt")
    assert api.engine_memory(SimpleNamespace(device_memory_size_v2=5)) == 5
    assert api.engine_memory(SimpleNamespace(device_memory_size=7)) == 7


def absent(_name: str) -> Any:
    raise ImportError("libnvinfer.so.10: cannot open shared object file")


@pytest.mark.parametrize(
    ("importer", "reason"),
    [
        (absent, "libnvinfer.so.10.*not on PyPI .*stub.*JetPack.*--system-site-packages"),
        (lambda _name: SimpleNamespace(), "installed without its libraries.*not on PyPI"),
        (lambda _name: SimpleNamespace(Builder=object, __version__="8.6.1"), "8.6.1 is too old: install 10.3"),
    ],
)
def test_a_tensorrt_that_cannot_be_used_says_where_it_comes_from(importer: Any, reason: str) -> None:
    with pytest.raises(RuntimeMissingError, match=reason) as caught:
        load("tensorrt", importer=importer)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_there_is_taken() -> None:
    module = World(11).module
    assert load("tensorrt", importer=lambda _name: module).version == "11.3.0"
    assert version_pair("10.3") == (10, 3)
