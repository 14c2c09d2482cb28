from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import CheckpointError
from engines.runtime import tensorrt_cuda, tensorrt_rtx
from engines.runtime.ports import TensorSpec
from engines.store import EngineKey, Manifest, Parity, Timing, sha256_of, write_manifest
from engines.tensorrt import driver
from engines.tensorrt.loading import checked_plan, refuse_graph

HERE = "NVIDIA A10 sm_86"
KEY = EngineKey("m", "backbone.onnx", "ab", "tensorrt", "10.3.0", HERE)


def saved(folder: Path, key: EngineKey) -> Path:
    engine = folder / "engine.plan"
    engine.write_bytes(b"ftrt plan")
    tensors = (TensorSpec("x", (None, 3)),)
    parity = Parity("torch-cpu", 1, 0.0, 0.02)
    write_manifest(
        folder,
        Manifest(key, engine.name, {engine.name: sha256_of(engine)}, tensors, tensors, parity, (Timing(1, 1.0, 2.0),)),
    )
    return engine


def test_an_engine_of_this_machine_is_read(tmp_path: Path) -> None:
    plan, manifest = checked_plan(saved(tmp_path, KEY), "tensorrt", "10.3.0", HERE)
    assert (plan, manifest.key) == (b"ftrt plan", KEY)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (replace(KEY, runtime_version="10.4.0"), "runtime_version: built with 10.4.0, here 10.3.0"),
        (replace(KEY, machine="Orin sm_87"), "machine: built with Orin sm_87, here NVIDIA A10 sm_86"),
        (replace(KEY, recipe="0"), "recipe: built with 0"),
        (replace(KEY, runtime="tensorrt-rtx"), "runtime: built with tensorrt-rtx, here tensorrt"),
        (replace(KEY, runtime_version="9.9", options=("version_compatible=1",)), "runtime_version"),
        (replace(KEY, machine="T4 sm_75", options=("hardware_compatibility=ampere_plus",)), "machine"),
        (replace(KEY, machine="sm_75+sm_80"), "machine"),
    ],
)
def test_what_differs_is_said_before_anybody_reads_the_engine(tmp_path: Path, key: EngineKey, reason: str) -> None:
    with pytest.raises(CheckpointError, match="does not fit this machine") as caught:
        checked_plan(saved(tmp_path, key), "tensorrt", "10.3.0", HERE)
    assert reason in str(caught.value)
    assert "build it again" in str(caught.value)


def test_an_engine_that_may_travel_is_read(tmp_path: Path) -> None:
    key = replace(KEY, runtime_version="10.0.1", options=("version_compatible=1",))
    assert checked_plan(saved(tmp_path, key), "tensorrt", "10.3.0", HERE)[0] == b"ftrt plan"


def test_a_changed_engine_is_refused_by_its_hash(tmp_path: Path) -> None:
    engine = saved(tmp_path, KEY)
    engine.write_bytes(b"ftrt evil")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        checked_plan(engine, "tensorrt", "10.3.0", HERE)


def test_an_engine_that_no_manifest_names_is_refused(tmp_path: Path) -> None:
    engine = saved(tmp_path, KEY)
    with pytest.raises(CheckpointError, match="no manifest that names it"):
        checked_plan(engine.rename(tmp_path / "other.plan"), "tensorrt", "10.3.0", HERE)


@pytest.mark.parametrize("content", [b"", b"\x08\x08\x12"])
def test_a_graph_is_no_engine(content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"build_engines\.py"):
        refuse_graph(content)


@pytest.mark.skipif(driver.unavailable() is None, reason="there is a GPU here")
@pytest.mark.parametrize("module", [tensorrt_cuda, tensorrt_rtx])
def test_without_a_driver_that_is_what_is_missing(module: object) -> None:
    said = tensorrt_cuda.unavailable() if module is tensorrt_cuda else tensorrt_rtx.unavailable()
    assert said == driver.unavailable()
