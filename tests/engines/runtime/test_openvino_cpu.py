"""The contract of a runtime, on OpenVINO itself; skipped where it is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.compile.openvino_build import build
from engines.compile.request import BuildRequest
from engines.errors import CheckpointError, InferenceError, RuntimeMissingError
from engines.export.precision import with_precision
from engines.export.sanitise import sanitised
from engines.runtime import openvino_cpu
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.runtime.openvino_cpu import ENGINE_FILE, WEIGHTS_FILE, OpenVinoBackend, open_graph, save_engine
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.processor import has_bf16
from engines.store import Precision
from tests.engines.convolutions import SIDE, convolutions, pictures

REASON = openvino_cpu.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")


def request(precision: Precision, told: list[float] | None = None) -> BuildRequest:
    return BuildRequest(precision, (1, 8), None, {}, lambda _, share: (told if told is not None else []).append(share))


def answers(backend: OpenVinoBackend | OnnxRuntimeBackend, batch: int) -> Array:
    return backend.infer({"crops": pictures(batch)})["features"]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_source_graph_runs_in_float32_at_any_batch(batch: int) -> None:
    np.testing.assert_allclose(
        answers(open_graph(convolutions(), threads=1), batch),
        answers(OnnxRuntimeBackend(convolutions()), batch),
        atol=1e-4,
    )


def test_one_compiled_graph_takes_one_batch_after_another() -> None:
    backend = open_graph(convolutions(), threads=1)
    whole = answers(backend, 8)
    for size in (1, 5, 8, 2):
        np.testing.assert_allclose(answers(backend, size), whole[:size], atol=1e-4)


def test_a_file_says_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(convolutions())
    backend = open_graph(path, threads=1)
    assert backend.inputs == (TensorSpec("crops", (None, 3, SIDE, SIDE)),)
    assert [spec.name for spec in backend.outputs] == ["features"]
    assert (backend.name, backend.precision) == ("openvino-cpu", "fp32")


def test_outputs_belong_to_the_caller() -> None:
    backend = open_graph(convolutions(), threads=1)
    first = answers(backend, 2)
    kept = first.copy()
    backend.infer({"crops": 1 - pictures(2)})
    np.testing.assert_array_equal(first, kept)


def test_arrays_that_are_views_are_taken_as_they_look() -> None:
    backend = open_graph(convolutions(), threads=1)
    view = pictures(4)[::2]
    np.testing.assert_array_equal(
        backend.infer({"crops": view})["features"], backend.infer({"crops": view.copy()})["features"]
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_an_engine_is_built_and_remembers_its_precision(tmp_path: Path, precision: Precision) -> None:
    if precision == "bf16" and not has_bf16():
        pytest.skip("this processor has no bfloat16")
    told: list[float] = []
    graph = with_precision(sanitised(convolutions()), precision, [{"crops": pictures(8)}])
    files = build(graph, request(precision, told), tmp_path)
    assert (files.engine_file, set(files.files)) == (ENGINE_FILE, {ENGINE_FILE, WEIGHTS_FILE})
    assert {path.name for path in tmp_path.iterdir()} == set(files.files)
    assert told == [0.0, 1.0]
    engine, wanted = open_graph(tmp_path / files.engine_file, threads=1), answers(OnnxRuntimeBackend(convolutions()), 3)
    assert engine.precision == precision
    worst = float(np.abs(answers(engine, 3) - wanted).max() / wanted.std())
    assert worst < {"fp32": 1e-4, "bf16": 0.1, "int8": 0.3}[precision]
    assert precision == "fp32" or worst > 1e-5  # it does compute in something narrower


def test_bfloat16_is_refused_where_the_processor_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_cpu, "has_bf16", lambda: False)
    with pytest.raises(RuntimeMissingError, match=r"no bfloat16.*--precision fp32"):
        save_engine(convolutions(), "bf16", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_engine_of_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    import openvino

    model = openvino.Core().read_model(convolutions())
    model.set_rt_info("fp4", ["unmask", "precision"])
    openvino.save_model(model, tmp_path / ENGINE_FILE)
    with pytest.raises(CheckpointError, match=r"'fp4'.*rebuild"):
        open_graph(tmp_path / ENGINE_FILE)


@pytest.mark.parametrize("content", [b"", b"not a graph", convolutions()[:200]])
def test_a_file_that_is_no_graph_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.onnx.*restore or rebuild") as caught:
        open_graph(path)
    assert "\n" not in str(caught.value)


def test_an_engine_without_its_weights_is_named(tmp_path: Path) -> None:
    save_engine(convolutions(), "fp32", tmp_path)
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(CheckpointError, match=ENGINE_FILE):
        open_graph(tmp_path / ENGINE_FILE)


def test_inputs_are_checked_before_the_runtime_sees_them() -> None:
    with pytest.raises(InferenceError, match="crops must be float32"):
        open_graph(convolutions()).infer({"crops": pictures(1).astype(np.float64)})


def test_a_closed_model_runs_no_more_and_closes_twice() -> None:
    backend = open_graph(convolutions())
    backend.close()
    backend.close()
    with pytest.raises(InferenceError, match="closed"):
        backend.infer({"crops": pictures(1)})


def test_asking_whether_it_is_there_imports_nothing_of_it() -> None:
    code = "from engines.runtime import openvino_cpu as o; import sys; o.unavailable(), o.version(), o.machine()"
    code += "; sys.exit('openvino' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_nobody_is_told_that_it_is_used() -> None:
    code = """if True:
        import sys
        told = []
        sys.addaudithook(lambda event, _: told.append(event) if event.startswith(("socket.", "os.fork")) else None)
        from engines.runtime.openvino_cpu import open_graph
        from tests.engines.convolutions import convolutions
        open_graph(convolutions())
        import openvino
        known = {name for name, module in sys.modules.items() if module is not None}
        calls = {"socket.connect", "socket.getaddrinfo", "os.fork", "os.forkpty"} & set(told)
        sys.exit(f"{calls} {known}" if calls or "openvino_telemetry" in known else 0)
    """
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_cpu, "find_spec", lambda _: None)
    assert "pip install" in (openvino_cpu.unavailable() or "")
    with pytest.raises(RuntimeMissingError, match="pip install"):
        open_graph(convolutions())


@pytest.mark.parametrize(
    ("precision", "processor_has", "hint"),
    [("fp32", True, "f32"), ("bf16", True, "bf16"), ("int8", True, "bf16"), ("int8", False, "f32")],
)
def test_the_precision_is_always_asked_for(
    precision: str, processor_has: bool, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_cpu, "has_bf16", lambda: processor_has)
    assert openvino_cpu._computes_in(precision) == hint


def test_what_is_known_of_the_processor_is_what_openvino_finds() -> None:
    import openvino

    assert has_bf16() == ("BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
