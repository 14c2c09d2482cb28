"""build_engines.py as a user runs it, on a tiny model: cached, proven, never half-built."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import build_engines
from engines.catalog import BACKBONE_FILE, graph_of, open_model
from engines.compile.request import BuildRequest, BuiltFiles
from engines.engine_choice import engines_here, open_fastest
from engines.errors import CheckpointError
from engines.runtime import tensorrt_cuda
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.runtime.table import runtime
from engines.spec import load_spec
from engines.store import MANIFEST_FILE, EngineKey, engine_folder, manifests_under
from engines.tensorrt.plan import checked_options
from tests.engines.graphs import write_model

CPU = ("--runtime", "onnxruntime")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "built"


def build(model: Path, root: Path, *options: str) -> int:
    return build_engines.main(["--model", str(model), "--root", str(root), *CPU, *options])


def engines(root: Path) -> list[Path]:
    return sorted(root.rglob("engine.onnx"))


def times(root: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in engines(root)]


def test_it_builds_both_graphs_with_their_manifests(
    model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(model, root, "--json", "--batch", "1,2") == 0
    manifests = json.loads(capsys.readouterr().out)
    assert [manifest["key"]["graph"] for manifest in manifests] == ["backbone.onnx", "head.onnx"]
    for manifest in manifests:
        assert manifest["parity"]["max_logit_delta"] < 1e-4
        assert manifest["parity"]["inputs"] >= 5
        assert [timing["batch"] for timing in manifest["timings"]] == [1, 2]
        assert all(timing["p95_ms"] >= timing["p50_ms"] > 0 for timing in manifest["timings"])
        assert manifest["promise"]["pixels"]["size"] == 8
        assert {"unmask", "onnx", "onnxruntime", "precision"} <= set(manifest["toolchain"])
        assert manifest["toolchain"]["precision"] == "fp32 v1: the float32 graph"
    assert len(engines(root)) == 2


def test_the_table_says_what_was_built(model: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(model, root)
    out = capsys.readouterr()
    assert all(word in out.out for word in ("tiny", "backbone", "onnxruntime-cpu", "fp32", "32"))
    assert "sanitise" in out.err
    assert "benchmark" in out.err


def test_a_second_run_builds_nothing(model: Path, root: Path) -> None:
    build(model, root)
    before = times(root)
    assert build(model, root) == 0
    assert times(root) == before


def test_force_builds_again(model: Path, root: Path) -> None:
    build(model, root)
    before = times(root)
    assert build(model, root, "--force") == 0
    assert times(root) != before


def test_another_batch_is_another_engine(model: Path, root: Path) -> None:
    build(model, root)
    build(model, root, "--batch", "4")
    assert len(engines(root)) == 4


def timings(root: Path) -> dict[str, list[tuple[int, float]]]:
    """Of each engine of the backbone: batches with their medians."""
    return {
        folder.name: [(timing.batch, timing.p50_ms) for timing in manifest.timings]
        for folder, manifest in manifests_under(root)
        if manifest.key.graph == BACKBONE_FILE
    }


def test_a_new_engine_is_timed_against_those_of_the_same_graph(
    model: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "other", "other")
    build(tmp_path / "other", root)
    build(model, root, "--batch", "1")
    before = timings(root)
    capsys.readouterr()
    assert build(model, root, "--batch", "1,2", "--json") == 0
    after = timings(root)
    assert [name for name in before if before[name] != after[name]] == [name for name in after if len(after[name]) == 1]
    assert sorted([batch for batch, _ in of] for of in after.values()) == [[1], [1, 2], [1, 8, 32]]
    told = json.loads(capsys.readouterr().out)[0]["timings"]
    assert [timing["p50_ms"] for timing in told] == next([ms for _, ms in of] for of in after.values() if len(of) == 2)
    assert build(model, root, "--batch", "1,2") == 0
    assert timings(root) == after, "nothing new: nothing to compare"


def test_engines_that_cannot_be_compared_keep_their_times(
    model: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*_: object) -> None:
        raise CheckpointError("no room; free some")

    build(model, root, "--batch", "1")
    before = timings(root)
    monkeypatch.setattr("stream.engine_workshop._opened", lost)
    assert build(model, root, "--batch", "1,2") == 0
    assert {name: timings(root)[name] for name in before} == before
    said = " ".join(capsys.readouterr().err.split())
    assert "engines were not compared, each keeps its own time: no room; free some" in said


def test_verify_says_what_is_missing_and_what_to_run(
    model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(model, root, "--verify") == 3
    assert "tiny backbone, onnxruntime-cpu fp32: missing: run build_engines.py" in capsys.readouterr().err
    build(model, root)
    capsys.readouterr()
    assert build(model, root, "--verify") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("current  tiny backbone, onnxruntime-cpu fp32: max |Δ| ")
    assert first.endswith("to onnxruntime-cpu, 7 inputs in batches of 1, 5, 8, 32")
    assert second.startswith("current  tiny head, onnxruntime-cpu fp32: ")


def test_a_dry_run_builds_nothing_and_says_what_it_would(
    model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(model, root, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "builds tiny backbone, onnxruntime-cpu fp32",
        "builds tiny head, onnxruntime-cpu fp32",
    ]
    assert not root.exists()
    build(model, root)
    capsys.readouterr()
    build(model, root, "--dry-run")
    assert capsys.readouterr().out.startswith("keeps tiny backbone")
    build(model, root, "--dry-run", "--json")
    assert [entry["is_kept"] for entry in json.loads(capsys.readouterr().out)] == [True, True]


def test_a_damaged_engine_is_not_picked_up_and_is_built_again(
    model: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(model, root)
    graph = graph_of(load_spec(model / "spec.json"), model, BACKBONE_FILE)
    (folder, manifest), *_ = engines_here(graph, root)
    (folder / manifest.engine_file).write_bytes(b"not an engine")
    assert open_model(str(model), engines_root=root).why.endswith("no engine was built")
    assert "engine.onnx is missing or was changed" in caplog.text
    assert build(model, root) == 0
    assert engines_here(graph, root)
    assert "fastest engine here" in open_model(str(model), engines_root=root).why


Told = list[tuple[str, str, str]]


def verified(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Told]:
    """Exit code of ``--verify``, and of each engine its model with its graph, its state and the reason."""
    capsys.readouterr()
    code = build_engines.main(["--root", str(root), "--verify", "--json", *options])
    found = json.loads(capsys.readouterr().out)
    keys = [entry["manifest"]["key"] if entry["manifest"] else {"model": "?", "graph": "?"} for entry in found]
    names = [f"{key['model']} {key['graph'].removesuffix('.onnx')}" for key in keys]
    return code, [(name, entry["state"], entry["why"]) for name, entry in zip(names, found, strict=True)]


def rewritten(folder: Path, **key: object) -> None:
    """The engine as if it had been built with another key."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["key"] |= key
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    folder.rename(engine_folder(folder.parents[1], read_manifest_anywhere(folder)))


def folder_of(root: Path, graph: str = "backbone") -> Path:
    return next(folder for folder, manifest in manifests_under(root) if manifest.key.graph == f"{graph}.onnx")


def test_verify_judges_every_engine_of_the_store_whatever_was_named(
    model: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a named model in two batches, and of one that is found by its name."""
    monkeypatch.setenv("UNMASK_MODELS", str(tmp_path / "models"))
    write_model(tmp_path / "models" / "meso4", "meso4")
    build(model, root)
    build(model, root, "--batch", "2")
    assert build_engines.main(["--model", "meso4", "--root", str(root), *CPU, "--batch", "1"]) == 0
    code, told = verified(root, capsys, "--model", str(model), *CPU, "--batch", "2")
    assert code == 0
    assert [(name, state) for name, state, _ in told] == [
        ("meso4 backbone", "current"),
        ("meso4 head", "current"),
        *[("tiny backbone", "current")] * 2,
        *[("tiny head", "current")] * 2,
    ]


def test_an_engine_whose_model_is_not_at_hand_is_stale_until_it_is_named(
    model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(model, root)
    code, told = verified(root, capsys)
    assert (code, {(state, why) for _, state, why in told}) == (
        0,
        {("stale", "no tiny is here to compare it with: give its folder with --model")},
    )


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ({"runtime_version": "0.1"}, "runtime_version: built with 0.1, here "),
        ({"machine": "x86_64 elsewhere"}, "machine: built with x86_64 elsewhere, here "),
        ({"recipe": "0"}, "recipe: built with 0, here "),
        ({"runtime": "tensorrt"}, "tensorrt cannot run here: "),
        ({"source_sha256": "0" * 64}, "its weights were replaced"),
        ({"options": ["promise=0123456789abcdef"]}, "its spec has changed: pixels, calibration, verdicts or head"),
    ],
)
def test_a_stale_engine_says_why_and_is_no_failure(
    key: dict[str, object], why: str, model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if key == {"runtime": "tensorrt"} and runtime("tensorrt").unavailable() is None:
        pytest.skip("TensorRT is here")
    build(model, root)
    rewritten(folder_of(root), **key)
    build(model, root)
    code, told = verified(root, capsys, "--model", str(model), *CPU)
    assert code == 0
    assert sorted((name, state) for name, state, _ in told) == [
        ("tiny backbone", "current"),
        ("tiny backbone", "stale"),
        ("tiny head", "current"),
    ]
    assert next(reason for _, state, reason in told if state == "stale").startswith(why)


def test_a_current_engine_that_was_changed_or_answers_otherwise_is_broken(
    model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(model, root)
    (folder_of(root, "head") / "engine.onnx").write_bytes(b"changed")
    wrong, folder = _scaled((model / BACKBONE_FILE).read_bytes(), 3.0), folder_of(root)
    (folder / "engine.onnx").write_bytes(wrong)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["files"]["engine.onnx"] = hashlib.sha256(wrong).hexdigest()
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    code, told = verified(root, capsys, "--model", str(model), *CPU)
    assert (code, [(name, state) for name, state, _ in told]) == (
        3,
        [("tiny backbone", "broken"), ("tiny head", "broken")],
    )
    assert told[0][2].startswith("parity: onnxruntime-cpu differs by")
    assert told[1][2] == "engine.onnx is missing or was changed: build it again"


def test_a_folder_without_a_manifest_is_picked_up_by_nothing_and_pruned(
    model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(model, root)
    folder = folder_of(root)
    (folder / MANIFEST_FILE).write_text("{")
    _, told = verified(root, capsys, "--model", str(model), *CPU)
    assert told[0][1:] == ("stale", "it has no manifest that can be read: nothing picks it up, --prune removes it")
    assert build(model, root, "--prune") == 0
    assert not folder.exists()


def test_verify_prints_a_line_for_each_engine(model: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_engines.main(["--root", str(root), "--verify"]) == 0
    assert capsys.readouterr().out == "no engine built yet: run build_engines.py\n"
    build(model, root)
    capsys.readouterr()
    assert build_engines.main(["--root", str(root), "--verify"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "stale    tiny backbone, onnxruntime-cpu fp32",
        "stale    tiny head, onnxruntime-cpu fp32",
    ]


def test_a_build_at_work_is_left_alone_and_a_killed_ones_rest_is_cleared(model: Path, root: Path) -> None:
    at_work, killed = root / "tiny" / f".building-{os.getpid()}-x", root / "tiny" / ".building-999999999-y"
    for folder in (at_work, killed):
        folder.mkdir(parents=True)
    assert build(model, root, "--prune") == 0
    assert at_work.exists()
    assert not killed.exists()
    killed.mkdir()
    assert build(model, root) == 0
    assert not killed.exists()


def test_engines_of_replaced_weights_are_pruned(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_engines.main(["--model", "lite0-gru", "--root", str(root), *CPU, "--batch", "1"]) == 0
    (folder, _), *_ = manifests_under(root)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["key"]["source_sha256"] = "0" * 64
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    old = read_manifest_anywhere(folder)
    folder = folder.rename(engine_folder(root, old))
    capsys.readouterr()
    assert build_engines.main(["--root", str(root), "--prune"]) == 0
    assert capsys.readouterr().out == f"removed {folder}\n"


def read_manifest_anywhere(folder: Path) -> EngineKey:
    """Of a manifest whose folder does not yet carry its name."""
    raw = json.loads((folder / MANIFEST_FILE).read_text())["key"]
    return EngineKey(**{**raw, "batches": tuple(raw["batches"]), "options": tuple(raw["options"])})


def test_a_folder_that_cannot_be_written_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert build(model, tmp_path / "file") == 3
    assert "cannot be written" in capsys.readouterr().err


def test_other_pictures_of_the_same_name_and_size_are_another_calibration(tmp_path: Path) -> None:
    from stream.engine_builds import _fingerprint

    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(b"one")
    before = _fingerprint(tmp_path)
    os.utime(tmp_path / "1.png", ns=(1, 1))
    assert _fingerprint(tmp_path) != before


def test_list_shows_what_fits_and_prune_removes_what_does_not(
    model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(model, root)
    strange, killed = root / "tiny" / "strange", root / "tiny" / ".building-x1"
    for folder in (strange, killed):
        folder.mkdir()
    stale = root / "tiny" / f"backbone-onnxruntime-cpu-fp32-{'0' * 16}"
    shutil.copytree(engines(root)[0].parent, stale)
    capsys.readouterr()
    assert build(model, root, "--list", "--json") == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)) == 2
    assert told.err == "1 more do not fit this machine or are not whole: --verify says why\n"
    assert build(model, root, "--prune", "--dry-run", "--json") == 0
    told_json = json.loads(capsys.readouterr().out)
    assert told_json == [{"folder": str(folder), "is_removed": False} for folder in (stale, killed)]
    assert build(model, root, "--prune", "--dry-run") == 0
    assert capsys.readouterr().out.count("would remove") == 2
    assert stale.exists()
    assert build(model, root, "--prune") == 0
    assert not any(folder.exists() for folder in (stale, killed))
    assert strange.exists(), "nothing that is not named as an engine may be touched"
    assert len(engines(root)) == 2


def test_corrupt_weights_leave_nothing_behind(model: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / BACKBONE_FILE).write_bytes(b"garbage")
    assert build(model, root) == 3
    assert "truncated or was changed" in capsys.readouterr().err
    assert not engines(root)


def test_an_engine_that_answers_otherwise_is_refused_and_leaves_nothing_behind(
    model: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = _scaled((model / BACKBONE_FILE).read_bytes(), 3.0)
    monkeypatch.setattr("engines.compile.build.with_precision", lambda *_: wrong)
    assert build(model, root) == 3
    said = capsys.readouterr().err
    assert "tiny backbone, onnxruntime-cpu fp32: parity: onnxruntime-cpu differs by" in said
    assert "use a wider precision" in said
    assert not [path for path in engines(root) if "backbone" in str(path)]
    assert not list(root.rglob(".building-*"))


def _scaled(graph: bytes, factor: float) -> bytes:
    """The same network with every weight multiplied."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--batch", "0"), 2, "--batch 0: write sizes from 1 on"),
        (("--batch", "eight"), 2, "--batch eight"),
        (("--precision", "int8"), 2, "give a folder of crops with --calibration DIR"),
        (("--precision", "bf16"), 2, "onnxruntime-cpu has no bf16: take one of fp32, int8"),
        (("--option", "dla"), 2, "write NAME=VALUE"),
        (("--option", "workspace=abc"), 2, "write NAME=VALUE"),
        (("--workspace", "nan"), 2, "--workspace nan: give GiB"),
        (("--workspace", "-1"), 2, "--workspace -1: give GiB"),
        (("--precision", "int8", "--calibration", "/nowhere"), 2, "no folder /nowhere"),
        (("--checkpoint", "/nowhere/checkpoint.safetensors"), 3, "no model spec at /nowhere"),
        (("--config", "/nowhere.yaml"), 2, "/nowhere.yaml"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    options: tuple[str, ...], code: int, said: str, model: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(model, root, *options) == code
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not root.exists()


def test_a_runtime_that_is_not_here_says_why(model: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if runtime("tensorrt").unavailable() is None:
        pytest.skip("TensorRT is here")
    assert build_engines.main(["--model", str(model), "--root", str(root), "--runtime", "tensorrt"]) == 3
    assert "tensorrt cannot run here: " in capsys.readouterr().err


def test_int8_is_calibrated_on_the_given_faces_and_judged_by_their_labels(
    model: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for kind, brightness in (("real", 40), ("fake", 200)):
        (tmp_path / "crops" / kind).mkdir(parents=True)
        for number in range(12):
            picture = np.clip(rng.normal(brightness, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "crops" / kind / f"{number}.png"), picture)
    code = build(model, root, "--precision", "int8", "--calibration", str(tmp_path / "crops"), "--json")
    out = capsys.readouterr()
    if code:  # the tiny network's logits are byte sums: int8 may cost more than the gate allows, and then says so
        assert "tiny backbone, onnxruntime-cpu int8: parity: " in out.err
        assert not [path for path in engines(root) if "int8" in str(path)]
        return
    backbone = json.loads(out.out)[0]
    assert backbone["key"]["precision"] == "int8"
    assert backbone["parity"]["auc_before"] == 1.0
    assert backbone["parity"]["auc_after"] is not None


def test_a_config_names_what_it_needs(
    model: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "watch.yaml"
    config.write_text(f"model:\n  folder: {model}\n")
    assert build_engines.main(["--config", str(config), "--root", str(root), *CPU, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "tiny backbone" in said
    assert "centerface centerface, onnxruntime-cpu fp32" in said


def test_an_engine_is_held_to_the_trained_network_where_torch_is(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    assert build_engines.main(["--model", "lite0-gru", "--root", str(root), *CPU, "--batch", "1", "--json"]) == 0
    manifests = json.loads(capsys.readouterr().out)
    assert [manifest["parity"]["reference"] for manifest in manifests] == ["torch-cpu", "torch-cpu"]
    assert all(0 < manifest["parity"]["max_logit_delta"] < 0.02 for manifest in manifests)


def test_a_face_detector_is_built_and_used(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stream.faces.open import detector_graph

    code = build_engines.main(["--model", "lite0-gru", "--root", str(root), *CPU, "--dry-run"])
    assert code == 0
    assert "centerface" not in capsys.readouterr().out
    assert build_engines.main(["--root", str(root), *CPU, "--batch", "1"]) == 0
    assert engines_here(detector_graph("centerface"), root)


@pytest.fixture
def with_tensorrt(monkeypatch: pytest.MonkeyPatch) -> list[BuildRequest]:
    """A machine with TensorRT whose plans are the graphs themselves; what its builder is asked for."""
    asked: list[BuildRequest] = []

    def build(graph: bytes, request: BuildRequest, folder: Path) -> BuiltFiles:
        checked_options("tensorrt", request.options)
        asked.append(request)
        (folder / "engine.plan").write_bytes(graph)
        return BuiltFiles("engine.plan", ("engine.plan",), {})

    def opened(model: Path | bytes, *, threads: int = 0) -> OnnxRuntimeBackend:
        return OnnxRuntimeBackend(model if isinstance(model, bytes) else model.read_bytes(), threads=threads)

    for name, value in (("unavailable", None), ("version", "10.7.0"), ("machine", "NVIDIA A10 sm_86")):
        monkeypatch.setattr(tensorrt_cuda, name, lambda value=value: value)
    monkeypatch.setattr(tensorrt_cuda, "open_graph", opened)
    monkeypatch.setattr("engines.tensorrt.builder.build", build)
    return asked


def test_a_detector_is_built_for_tensorrt_in_one_size_and_finds_the_same_faces(
    root: Path, tmp_path: Path, with_tensorrt: list[BuildRequest]
) -> None:
    from stream.faces.network import NetworkDetector
    from stream.faces.open import detector_graph, network_named
    from tests.stream.faces.pictures import frame_from_rgb, portrait

    config = tmp_path / "watch.yaml"
    config.write_text(f"model: {{folder: {tmp_path / 'tiny'}}}\ndetector: {{width: 300}}\n")
    write_model(tmp_path / "tiny")
    assert build_engines.main(["--config", str(config), "--root", str(root), "--runtime", "tensorrt"]) == 0
    assert [(request.batches, request.precision) for request in with_tensorrt][-1] == ((1,), "fp32")
    assert all(request.options == {} for request in with_tensorrt), "what tells engines apart is no option of TensorRT"
    assert engines_here(detector_graph("centerface", width=640), root) == []
    opened = open_fastest(detector_graph("centerface", width=300), root=root)
    assert opened.backend.inputs[0].shape == (1, 3, 320, 320)
    network, frame = network_named("centerface"), frame_from_rgb(portrait())
    free = runtime("onnxruntime-cpu").open_graph(detector_graph("centerface").source)
    backends = (opened.backend, free)
    (here,), (there,) = (NetworkDetector(network, one, confidence=0.5, width=320).detect(frame) for one in backends)
    np.testing.assert_allclose(here.xyxy, there.xyxy, atol=0.5)


@pytest.mark.usefixtures("with_tensorrt")
def test_only_backbones_are_put_on_a_dla(model: Path, root: Path) -> None:
    options = ["--runtime", "tensorrt", "--option", "dla=0", "--batch", "1"]
    assert build_engines.main(["--model", str(model), "--root", str(root), *options]) == 0
    on_dla = {manifest.key.graph: "dla=0" in manifest.key.options for _, manifest in manifests_under(root)}
    assert on_dla == {"backbone.onnx": True, "head.onnx": False}


def test_a_kill_at_any_time_leaves_nothing_that_is_picked_up(model: Path, root: Path) -> None:
    command = [sys.executable, "-m", "stream.engine_builds", "--model", str(model), "--root", str(root), *CPU]
    for delay_s in (0.5, 0.8, 1.1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert all(not folder.name.startswith(".") for folder, _ in manifests_under(root)) or not root.exists()
    graph = graph_of(load_spec(model / "spec.json"), model, BACKBONE_FILE)
    assert build(model, root) == 0
    (folder, manifest), *_ = engines_here(graph, root)
    assert (folder / manifest.engine_file).is_file()
