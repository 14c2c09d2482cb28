"""What TensorRT's builder is told, in both generations of its API."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.errors import CheckpointError, EngineError, InferenceError
from engines.tensorrt import build_process, timing_cache
from engines.tensorrt.api import Api
from engines.tensorrt.building import build_engine
from engines.tensorrt.driver import Gpu
from engines.tensorrt.plan import BuildJob
from tests.engines.tensorrt.fake_tensorrt_builder import CACHE, GRAPH, BuilderWorld


@pytest.fixture(params=[10, 11])
def world(request: Any) -> BuilderWorld:
    return BuilderWorld(request.param)


@pytest.fixture
def job(tmp_path: Path) -> BuildJob:
    (tmp_path / "graph.onnx").write_bytes(GRAPH)
    names = {name: str(tmp_path / file) for name, file in FILES.items()}
    return BuildJob(kind="tensorrt", profiles=((1, 8, 32),), **names)  # type: ignore[arg-type]


FILES = {"graph": "graph.onnx", "engine": "engine.plan", "inspection": "layers.json", "timing_cache": "timing.cache"}


def built(world: BuilderWorld, job: BuildJob, told: list[tuple[str, float]] | None = None) -> dict[str, Any]:
    """What the plan was built with."""
    steps: list[tuple[str, float]] = [] if told is None else told
    build_engine(Api(world.module, "tensorrt"), job, lambda phase, share: steps.append((phase, share)))
    plan: dict[str, Any] = json.loads(Path(job.engine).read_bytes())
    return plan


def test_a_plan_is_built_from_the_graph_and_its_layers_are_kept(world: BuilderWorld, job: BuildJob) -> None:
    told: list[tuple[str, float]] = []
    plan = built(world, job, told)
    assert plan["profiles"] == [{"x": [[1, 3], [8, 3], [32, 3]]}]
    assert plan["profiling_verbosity"] == "detailed"
    assert json.loads(Path(job.inspection).read_text()) == {"Layers": ["conv"]}
    assert world.inspected == ["json"]
    assert told == [("parse", 0.0), ("tactics", 0.0), ("tactics", 0.5), ("tactics", 1.0)]


def test_precision_is_the_graphs_no_flag_narrows_float32(world: BuilderWorld, job: BuildJob) -> None:
    assert built(world, job)["flags"] == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {"pools": {}}),
        ({"workspace_bytes": 1 << 30}, {"pools": {"workspace": 1 << 30}}),
        ({"version_compatible": True}, {"flags": ["VERSION_COMPATIBLE"]}),
        ({"hardware_compatibility": "ampere_plus"}, {"hardware_compatibility_level": 1}),
        ({"dla": 1}, {"default_device_type": "dla", "DLA_core": 1, "flags": ["GPU_FALLBACK"]}),
        ({"profiles": ((1, 1, 1), (2, 8, 8))}, {"profiles": [{"x": [[1, 3]] * 3}, {"x": [[2, 3], [8, 3], [8, 3]]}]}),
    ],
)
def test_choices_reach_the_builder(
    world: BuilderWorld, job: BuildJob, changes: dict[str, Any], found: dict[str, Any]
) -> None:
    plan = built(world, replace(job, **changes))
    assert {name: plan[name] for name in found} == found


def test_a_level_that_a_version_lacks_is_one_line(job: BuildJob) -> None:
    same = replace(job, hardware_compatibility="same_compute_capability")
    assert built(BuilderWorld(11), same)["hardware_compatibility_level"] == 2
    said = r"could not find hardware compatibility same_compute_capability, which this version lacks"
    with pytest.raises(InferenceError, match=said):
        built(BuilderWorld(10), same)


def test_a_detector_of_one_size_takes_that_and_a_free_one_is_refused(job: BuildJob) -> None:
    single = replace(job, profiles=((1, 1, 1),))
    plan = built(BuilderWorld(10, inputs=(("picture", (1, 3, 320, 320)),)), single)
    assert plan["profiles"] == [{"picture": [[1, 3, 320, 320]] * 3}]
    with pytest.raises(CheckpointError, match="only the first dimension may be free"):
        built(BuilderWorld(10, inputs=(("picture", (-1, 3, -1, -1)),)), single)


def test_a_head_s_inputs_share_the_batch(job: BuildJob) -> None:
    plan = built(BuilderWorld(11, inputs=(("features", (-1, 20, 8)), ("mask", (-1, 20)))), job)
    assert plan["profiles"][0]["mask"] == [[1, 20], [8, 20], [32, 20]]


def test_a_graph_that_does_not_parse_is_told_in_the_parsers_words(world: BuilderWorld, job: BuildJob) -> None:
    Path(job.graph).write_bytes(b"nonsense")
    with pytest.raises(
        CheckpointError, match=r"cannot parse the graph: In node 3 \(importX\): unsupported operator X;"
    ):
        built(world, job)
    assert not Path(job.engine).exists()


@pytest.mark.parametrize("what", ["network", "config", "profile", "build", "add profile"])
def test_none_and_false_are_errors_with_what_was_logged(world: BuilderWorld, job: BuildJob, what: str) -> None:
    world.fails = what
    with pytest.raises(EngineError) as caught:
        built(world, job)
    assert ("no room for the" in str(caught.value)) is (what != "add profile")
    assert "\n" not in str(caught.value)
    assert not Path(job.engine).exists()


def test_times_are_kept_for_the_next_build_and_joined_with_anothers(world: BuilderWorld, job: BuildJob) -> None:
    mine = CACHE + world.module.__version__.encode()
    built(world, job)
    assert timing_cache.read(Path(job.timing_cache)) == mine
    timing_cache.write(Path(job.timing_cache), mine + b" twice")
    built(world, job)
    assert mine + b" twice" in world.caches_given
    assert timing_cache.read(Path(job.timing_cache)) == mine + b" twice"


def test_times_of_another_version_are_no_hindrance(world: BuilderWorld, job: BuildJob) -> None:
    timing_cache.write(Path(job.timing_cache), CACHE + b"9.9")
    built(world, job)
    assert timing_cache.read(Path(job.timing_cache)) == CACHE + world.module.__version__.encode()


def test_the_process_tells_what_it_was_built_with_for_the_manifest(
    world: BuilderWorld,
    job: BuildJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    orin = Gpu("Orin", 87, "12.6", 8 << 30, shares_memory=True, driver="540.4.0", l4t="36.4.3")
    monkeypatch.setattr(build_process.driver, "find_gpu", lambda: orin)
    monkeypatch.setattr(build_process, "load", lambda kind, on_line: Api(world.module, kind, on_line))
    (tmp_path / "job.json").write_text(job.text)
    assert build_process.main(tmp_path / "job.json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["done"] == {
        "tensorrt": world.module.__version__,
        "gpu": "Orin sm_87 L4T 36.4.3",
        "cuda": "12.6",
        "driver": "540.4.0",
        "l4t": "36.4.3",
    }
    world.fails = "build"
    assert build_process.main(tmp_path / "job.json") == 1
    assert "no room for the build" in json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
