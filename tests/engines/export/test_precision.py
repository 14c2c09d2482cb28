"""Precisions in the graph: what is rounded, what stays float32, and that it is found by measuring."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from engines.catalog import BACKBONE_FILE
from engines.errors import CheckpointError
from engines.export.calibration_crops import stand_in_crops
from engines.export.half import half_twin, islands
from engines.export.precision import recipe_of, with_precision
from engines.export.sanitise import graph_inputs, graph_outputs, sanitised
from engines.model_store import SHIPPED
from engines.preprocess import normalise
from engines.runtime.ports import Array
from engines.spec import load_spec
from engines.store import PRECISIONS, Precision

SPEC = load_spec(SHIPPED / "lite0-gru" / "spec.json")


def chain(*steps: tuple[str, str, float], channels: int = 2) -> bytes:
    """x (n, channels) through operators with one constant each, named as given: (name, operator, constant)."""
    nodes, tensors, value = list[NodeProto](), list[TensorProto](), "x"
    for index, (name, operator, constant) in enumerate(steps):
        made = "y" if index == len(steps) - 1 else f"after {name}"
        tensors.append(numpy_helper.from_array(np.array([constant], np.float32), f"{name} constant"))
        nodes.append(helper.make_node(operator, [value, f"{name} constant"], [made], name=name))
        value = made
    return bytes(model(nodes, tensors, ["n", channels], ["n", channels]).SerializeToString())


def model(nodes: list[NodeProto], tensors: list[TensorProto], x: list[str | int], y: list[str | int]) -> ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)]
    graph = helper.make_graph(nodes, "chain", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolutions(count: int = 3) -> bytes:
    """Convolutions with activations between them, then the mean as an output of one number."""
    rng = np.random.default_rng(0)
    nodes, tensors, value = list[NodeProto](), list[TensorProto](), "x"
    for index in range(count):
        shape = (8, 3 if index == 0 else 8, 3, 3)
        tensors.append(numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), f"w{index}"))
        tensors.append(numpy_helper.from_array(rng.normal(0, 0.2, 8).astype(np.float32), f"b{index}"))
        nodes.append(helper.make_node("Conv", [value, f"w{index}", f"b{index}"], [f"c{index}"], name=f"conv{index}"))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], name=f"relu{index}"))
        value = f"r{index}"
    nodes.append(helper.make_node("ReduceMean", [value], ["f"], name="mean", axes=[2, 3], keepdims=0))
    tensors.append(numpy_helper.from_array(rng.normal(0, 1, (8, 1)).astype(np.float32), "dense"))
    nodes.append(helper.make_node("MatMul", ["f", "dense"], ["y"], name="last"))
    return bytes(model(nodes, tensors, ["n", 3, 16, 16], ["n", 1]).SerializeToString())


def run(graph: bytes, arrays: dict[str, Array]) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    (answer, *_) = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"]).run(None, arrays)
    return np.asarray(answer)


def pictures(count: int = 4) -> dict[str, Array]:
    return {"x": np.random.default_rng(1).standard_normal((count, 3, 16, 16)).astype(np.float32)}


def types(graph: bytes) -> dict[str, int]:
    """Element type of each value."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph)).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def made_in_float32(graph: bytes) -> set[str]:
    kinds = types(graph)
    nodes = onnx.load_from_string(graph).graph.node
    return {node.name for node in nodes if node.op_type != "Cast" and kinds[node.output[0]] == TensorProto.FLOAT}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_needs_no_other_graph_keeps_it(precision: Precision) -> None:
    assert with_precision(convolutions(), precision) == convolutions()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_keeps_inputs_and_outputs(precision: Precision) -> None:
    graph = with_precision(convolutions(), precision, [pictures()])
    assert (graph_inputs(graph), graph_outputs(graph)) == (graph_inputs(convolutions()), graph_outputs(convolutions()))


@pytest.mark.parametrize(("precision", "largest"), [("fp16", 5e-3), ("int8", 5e-2)])
def test_a_cheaper_graph_says_nearly_the_same(precision: Precision, largest: float) -> None:
    before = run(convolutions(), pictures(16))
    after = run(with_precision(convolutions(), precision, [pictures()]), pictures(16))
    assert 0 < np.abs(after - before).max() < largest


def test_every_recipe_is_told_apart_in_one_line() -> None:
    recipes = [recipe_of(precision) for precision in PRECISIONS]
    assert len(set(recipes)) == len(PRECISIONS)
    assert not any("\n" in recipe for recipe in recipes)


# float16


def test_half_of_a_graph_is_float16_but_for_sums_and_edges() -> None:
    graph = with_precision(convolutions(), "fp16", [pictures()])
    assert made_in_float32(graph) == {"mean"}
    weights = onnx.load_from_string(graph).graph.initializer
    assert {tensor.data_type for tensor in weights} == {TensorProto.FLOAT16}


def test_kept_nodes_stay_float32_and_hand_over_without_rounding() -> None:
    graph = with_precision(convolutions(), "fp16", [pictures()], keep={"last"})
    assert made_in_float32(graph) == {"mean", "last"}
    casts = Counter(node.attribute[0].i for node in onnx.load_from_string(graph).graph.node if node.op_type == "Cast")
    assert casts == {TensorProto.FLOAT16: 1, TensorProto.FLOAT: 1}


LARGE = (("one", "Mul", 1000.0), ("two", "Mul", 1000.0), ("three", "Div", 1000.0), ("four", "Div", 1000.0))


def test_who_makes_or_reads_large_numbers_stays_float32() -> None:
    batch = {"x": np.array([[1.0, -20.0]], np.float32)}
    assert islands(chain(*LARGE), [batch]) == {"two", "three"}
    assert islands(chain(*LARGE), []) == frozenset()


def test_the_twin_overflows_where_hardware_would_and_not_with_its_islands() -> None:
    batch = {"x": np.array([[1.0, -20.0]], np.float32)}
    assert np.isinf(run(half_twin(chain(*LARGE), ()), batch)).all()
    np.testing.assert_allclose(run(half_twin(chain(*LARGE), {"two", "three"}), batch), batch["x"], rtol=2e-3)


def test_a_number_too_small_for_float16_is_found_by_what_it_breaks() -> None:
    """0 + 1e-9 is 0 in float16, and its reciprocal is infinite; nothing in float32 is large but that reciprocal."""
    nodes = [
        helper.make_node("Add", ["x", "tiny"], ["a"], name="add"),
        helper.make_node("Div", ["x", "a"], ["y"], name="divide"),
    ]
    tensors = [numpy_helper.from_array(np.array([1e-9], np.float32), "tiny")]
    graph = model(nodes, tensors, ["n", 2], ["n", 2]).SerializeToString()
    batch = {"x": np.array([[0.0, 3.0]], np.float32)}
    assert np.isnan(run(half_twin(graph, ()), batch)).any()
    assert islands(graph, [batch]) == {"add", "divide"}


def test_large_weights_are_seen_without_any_batch() -> None:
    assert islands(chain(("big", "Mul", 1e5), ("small", "Div", 1e2)), []) == {"big"}


def test_the_twin_rounds_as_numpys_float16_does() -> None:
    x = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    expected = (x.astype(np.float16) * np.float16(0.1)).astype(np.float32)
    np.testing.assert_array_equal(run(half_twin(chain(("scale", "Mul", 0.1)), ()), {"x": x}), expected)


# int8


def test_int8_without_crops_says_what_it_needs() -> None:
    with pytest.raises(CheckpointError, match="give --calibration DIR"):
        with_precision(convolutions(), "int8")


def test_quantisation_is_explicit_symmetric_and_without_biases() -> None:
    graph = onnx.load_from_string(with_precision(convolutions(), "int8", [pictures()])).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert Counter(node.op_type for node in pairs) == {"QuantizeLinear": 2, "DequantizeLinear": 4}
    assert all(tensors[node.input[2]].dtype == np.int8 and not tensors[node.input[2]].any() for node in pairs)
    weights = [node for node in pairs if node.input[0] in tensors]
    assert [tensors[node.input[1]].shape for node in weights] == [(8,)] * 2
    convs = [node for node in graph.node if node.op_type == "Conv"]
    assert all(tensors[node.input[2]].dtype == np.float32 for node in convs)


def test_what_comes_first_writes_an_output_or_is_kept_is_not_quantised() -> None:
    graph = onnx.load_from_string(with_precision(convolutions(), "int8", [pictures()], keep={"conv1"})).graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    plain = {node.name for node in graph.node if node.op_type in ("Conv", "MatMul") and not made.get(node.input[1])}
    assert plain == {"conv0", "conv1", "last"}


def test_nothing_is_cut_between_a_convolution_and_its_activation() -> None:
    graph = onnx.load_from_string(with_precision(convolutions(), "int8", [pictures()])).graph
    makers = {name: node for node in graph.node for name in node.output}
    assert {makers[node.input[0]].op_type for node in graph.node if node.op_type == "Relu"} == {"Conv"}


# TensorRT


@pytest.fixture(scope="module")
def shipped() -> bytes:
    return sanitised((SHIPPED / "lite0-gru" / BACKBONE_FILE).read_bytes())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_tensorrt_parses_the_default_backbone_strongly_typed(shipped: bytes, precision: Precision) -> None:
    crops = normalise(list(stand_in_crops(2, SPEC.pixels.size).crops), SPEC.pixels)
    assert_parses(with_precision(shipped, precision, [{"crops": crops}]))


def test_tensorrt_parses_the_shipped_head() -> None:
    assert_parses(sanitised((SHIPPED / "lite0-gru" / "head.onnx").read_bytes()))


@pytest.fixture(scope="module")
def xception() -> bytes:
    pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")
    from engines.export.graph import backbone_graph
    from engines.models.xception import Xception

    return sanitised(backbone_graph(Xception(), 72))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_tensorrt_parses_an_xception_strongly_typed(xception: bytes, precision: Precision) -> None:
    crops = np.random.default_rng(0).standard_normal((1, 3, 72, 72)).astype(np.float32)
    assert_parses(with_precision(xception, precision, [] if precision == "fp16" else [{"crops": crops}]))


def assert_parses(graph: bytes) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install tensorrt-rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(graph), [str(parser.get_error(index)) for index in range(parser.num_errors)]
    assert network.num_layers
