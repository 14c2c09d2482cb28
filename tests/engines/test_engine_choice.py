"""Which engine is taken: the fastest that fits, never one that does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import build_engines
from engines.catalog import BACKBONE_FILE, graph_of
from engines.engine_choice import Graph, engines_here, key_here, misfits, open_fastest
from engines.errors import CheckpointError, RuntimeMissingError
from engines.runtime import tensorrt_cuda
from engines.runtime.ports import TensorSpec
from engines.runtime.table import ALWAYS
from engines.store import (
    MANIFEST_FILE,
    EngineKey,
    Manifest,
    Parity,
    Timing,
    engine_folder,
    read_manifest,
    sha256_of,
    write_manifest,
)
from tests.engines.graphs import write_model


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    spec = write_model(tmp_path / "tiny")
    return graph_of(spec, tmp_path / "tiny", BACKBONE_FILE)


@pytest.fixture
def root(graph: Graph, tmp_path: Path) -> Path:
    """With two engines of the graph: for batches of 1 and of 2."""
    assert isinstance(graph.source, Path)
    for batch in ("1", "2"):
        options = ["--root", str(tmp_path / "built"), "--runtime", "onnxruntime", "--batch", batch]
        assert build_engines.main(["--model", str(graph.source.parent), *options]) == 0
    return tmp_path / "built"


def edit(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    for name, value in fields.items():
        (manifest["key"] if name in manifest["key"] else manifest)[name] = value
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


@pytest.mark.parametrize("fastest", [0, 1])
def test_the_fastest_of_several_is_taken(fastest: int, graph: Graph, root: Path) -> None:
    folders = [folder for folder, _ in engines_here(graph, root)]
    assert len(folders) == 2
    for number, folder in enumerate(folders):
        edit(folder, timings=[{"batch": 1, "p50_ms": 1.0 if number == fastest else 2.0, "p95_ms": 3.0}])
    assert engines_here(graph, root)[0][0] == folders[fastest]
    assert (
        open_fastest(graph, root=root).why == "onnxruntime-cpu fp32: the fastest engine here, 1.0 ms when it was built"
    )


@pytest.mark.parametrize(("openvino_ms", "taken"), [(1.0, "openvino-cpu"), (1.7, "openvino-cpu"), (1.9, ALWAYS)])
def test_another_runtime_is_taken_only_where_it_is_plainly_faster(
    openvino_ms: float, taken: str, graph: Graph, root: Path
) -> None:
    pytest.importorskip("openvino")
    assert isinstance(graph.source, Path)
    options = ["--root", str(root), "--runtime", "openvino", "--precision", "fp32"]
    assert build_engines.main(["--model", str(graph.source.parent), *options]) == 0
    for folder, manifest in engines_here(graph, root):
        took_ms = 2.0 if manifest.key.runtime == ALWAYS else openvino_ms
        edit(folder, timings=[{"batch": 1, "p50_ms": took_ms, "p95_ms": 3.0}])
    assert engines_here(graph, root)[0][1].key.runtime == taken


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("runtime_version", "0.1", "runtime_version: built with 0.1, here "),
        ("machine", "x86_64 elsewhere", "machine: built with x86_64 elsewhere"),
        ("recipe", "0", "recipe: built with 0, here "),
    ],
)
def test_an_engine_of_another_world_is_left_out_and_said(
    field: str, value: str, said: str, graph: Graph, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for folder, manifest in engines_here(graph, root):
        edit(folder, **{field: value})
        (folder).rename(engine_folder(root, replace(manifest.key, **{field: value})))
    assert engines_here(graph, root) == []
    assert said in caplog.text
    assert open_fastest(graph, root=root).why.startswith("onnxruntime-cpu: the graph as it is")


def test_an_engine_of_other_weights_is_not_of_this_graph(graph: Graph, root: Path) -> None:
    assert engines_here(Graph(graph.model, graph.file, graph.source, "0" * 64), root) == []


def test_a_manifest_that_points_out_of_its_folder_is_no_manifest(graph: Graph, root: Path) -> None:
    (folder, manifest), *_ = engines_here(graph, root)
    edit(folder, engine_file="../engine.onnx", files={"../engine.onnx": next(iter(manifest.files.values()))})
    assert read_manifest(folder) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timings", []),
        ("timings", [{"batch": 1, "p50_ms": None, "p95_ms": 1.0}]),
        ("timings", [{"batch": 1, "p50_ms": float("nan"), "p95_ms": 1.0}]),
        ("timings", [{"batch": 0, "p50_ms": 1.0, "p95_ms": 1.0}]),
        ("files", ["engine.onnx"]),
        ("files", {"engine.onnx": None}),
        ("engine_file", 5),
        ("runtime", ["onnxruntime-cpu"]),
        ("inputs", [{"name": 1}]),
    ],
)
def test_a_manifest_that_holds_what_it_must_not_is_none(field: str, value: object, graph: Graph, root: Path) -> None:
    for folder, _ in engines_here(graph, root):
        edit(folder, **{field: value})
    assert engines_here(graph, root) == []
    assert open_fastest(graph, root=root).why.startswith("onnxruntime-cpu: the graph as it is")


def test_an_engine_judged_by_another_spec_is_not_of_this_graph(graph: Graph, root: Path) -> None:
    assert engines_here(graph, root)
    assert engines_here(replace(graph, promise="another"), root) == []


def test_an_engine_under_anothers_name_is_no_engine(graph: Graph, root: Path) -> None:
    (folder, _), *_ = engines_here(graph, root)
    folder.rename(folder.with_name("backbone-onnxruntime-cpu-int8-0123456789abcdef"))
    assert len(engines_here(graph, root)) == 1


def test_an_engine_that_does_not_open_gives_way_to_the_next(
    graph: Graph, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from engines.runtime import onnxruntime_cpu

    opened, real = list[Path](), onnxruntime_cpu.open_graph

    def picky(model: Path, *, threads: int = 0) -> object:
        opened.append(model)
        if len(opened) == 1:
            raise CheckpointError("no room; free some")
        return real(model, threads=threads)

    monkeypatch.setattr(onnxruntime_cpu, "open_graph", picky)
    assert open_fastest(graph, root=root).backend.name == "onnxruntime-cpu"
    assert len(opened) == 2
    assert "cannot be opened: no room; free some" in caplog.text


def test_a_runtime_without_an_engine_says_how_to_get_one(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissingError, match="no runtime 'nix': use one of tensorrt"):
        open_fastest(graph, backend="nix", root=tmp_path)
    with pytest.raises(RuntimeMissingError, match=r"cannot run here: |--runtime tensorrt --model tiny"):
        open_fastest(graph, backend="tensorrt", root=tmp_path)


def test_a_key_is_made_anew_for_this_machine(graph: Graph, root: Path) -> None:
    (folder, manifest), *_ = engines_here(graph, root)
    assert key_here(manifest.key) == manifest.key
    assert misfits(folder, manifest) == []
    (folder / manifest.engine_file).unlink()
    assert misfits(folder, manifest) == ["engine.onnx is missing or was changed"]


A10, H200 = "NVIDIA A10 sm_86", "NVIDIA H200 sm_90"


@pytest.fixture
def on_an_a10(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with TensorRT 10.7, as far as choosing an engine asks."""
    monkeypatch.setattr(tensorrt_cuda, "unavailable", lambda: None)
    monkeypatch.setattr(tensorrt_cuda, "version", lambda: "10.7.0")
    monkeypatch.setattr(tensorrt_cuda, "machine", lambda: A10)


def plan_of(graph: Graph, root: Path, version: str, machine: str, item_ms: float, *options: str) -> Path:
    """A TensorRT engine that was built somewhere."""
    key = EngineKey(graph.model, graph.file, graph.sha256, "tensorrt", version, machine, "fp16")
    key = replace(key, options=tuple(sorted((*graph.options, *options))))
    folder, tensors = engine_folder(root, key), (TensorSpec("x", (None, 3)),)
    folder.mkdir(parents=True)
    (folder / "engine.plan").write_bytes(b"ftrt plan")
    files, timings = {"engine.plan": sha256_of(folder / "engine.plan")}, (Timing(1, item_ms, item_ms),)
    parity = Parity("torch-cpu", 1, 0.0, 0.1)
    write_manifest(folder, Manifest(key, "engine.plan", files, tensors, tensors, parity, timings))
    return folder


@pytest.mark.usefixtures("on_an_a10")
@pytest.mark.parametrize(
    ("version", "machine", "options", "is_chosen"),
    [
        ("10.7.0", A10, (), True),
        ("10.3.0", A10, (), False),
        ("10.3.0", A10, ("version_compatible=1",), True),
        ("10.9.0", A10, ("version_compatible=1",), False),
        ("10.7.0", H200, (), False),
        ("10.7.0", H200, ("hardware_compatibility=ampere_plus",), True),
        ("10.7.0", H200, ("hardware_compatibility=same_compute_capability",), False),
        ("10.3.0", H200, ("hardware_compatibility=ampere_plus", "version_compatible=1"), True),
    ],
)
def test_an_engine_that_may_travel_is_chosen_where_it_arrives(
    version: str, machine: str, options: tuple[str, ...], is_chosen: bool, graph: Graph, tmp_path: Path
) -> None:
    folder = plan_of(graph, tmp_path / "built", version, machine, 1.0, *options)
    assert [found for found, _ in engines_here(graph, tmp_path / "built")] == [folder] * is_chosen


@pytest.mark.usefixtures("on_an_a10")
def test_times_of_another_machine_do_not_beat_an_engine_built_here(
    graph: Graph, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = plan_of(graph, root, "10.7.0", H200, 1e-6, "hardware_compatibility=ampere_plus")
    assert engines_here(graph, root)[0][0] == away, "of a runtime that has built nothing here it is the best there is"
    here = plan_of(graph, root, "10.7.0", A10, 2e-6)
    found = [folder for folder, _ in engines_here(graph, root)]
    assert (found[0], found[-1]) == (here, away)
    monkeypatch.setattr(tensorrt_cuda, "open_graph", lambda *_, **__: object())
    assert open_fastest(graph, root=root).why.endswith("ms when it was built")
    (here / MANIFEST_FILE).unlink()
    for folder in found[1:-1]:
        (folder / MANIFEST_FILE).unlink()
    assert open_fastest(graph, root=root).why.endswith("when it was built on NVIDIA H200 sm_90 with 10.7.0")


@pytest.mark.parametrize(
    ("options", "wanted", "is_chosen"),
    [((), "320x320", True), (("size=320x320",), "320x320", True), (("size=320x320",), "640x640", False)],
)
@pytest.mark.usefixtures("on_an_a10")
def test_an_engine_of_one_picture_size_is_for_that_size(
    options: tuple[str, ...], wanted: str, is_chosen: bool, graph: Graph, tmp_path: Path
) -> None:
    plan_of(graph, tmp_path / "built", "10.7.0", A10, 1.0, *options)
    assert bool(engines_here(replace(graph, size=wanted), tmp_path / "built")) is is_chosen
