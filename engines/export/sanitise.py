"""Any ONNX graph made fit for every runtime: plain weights, folded constants, and a batch of any size.

Graphs come as their authors left them: with weights among the inputs (CenterFace), weights stored as float16 behind a
Cast and batch norms apart (ours), the arithmetic of shapes spelled out (ours, YuNet), or an old opset (all detectors).
Runtimes differ in what they clean up themselves; a quantiser that is given such a graph quantises the wrong places.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # protobuf ships no stubs
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
    shape_inference,
    version_converter,
)

from engines.errors import CheckpointError
from engines.export.storage import with_half_storage
from engines.runtime.ports import Array, TensorSpec

OLDEST_OPSET = 17
OLDEST_IR = 8
"""The file format that opset 17 came with; older ones count weights among the inputs."""
BATCH = "n"
"""Name of the dynamic batch, whatever the author called it."""


def sanitised(graph: bytes, *, fold: bool = True, half_storage: bool = False) -> bytes:
    """The same function of the same inputs, with a free batch named ``n`` where the batch was free.

    ``fold``: compute constants and fold batch norms into the convolutions before them, which moves answers by float32's
    rounding alone. ``half_storage``: large weights as float16 behind a Cast again, which is exact for ours and rounds
    other people's. Raises CheckpointError.
    """
    model = _parsed(graph)
    source = {opset.domain for opset in model.opset_import}
    try:
        model = _folded(_mended(model)) if fold else _mended(model)
        model = with_half_storage(model) if half_storage else model
        _tidy(model, source)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx's checker, converter and inference and ONNX Runtime share no base class
        raise CheckpointError(f"the graph cannot be made fit ({_line(error)}); export the model again") from error
    return bytes(model.SerializeToString())


def with_picture_size(graph: bytes, size_wh: tuple[int, int]) -> bytes:
    """A network over one picture of any size, (N, 3, H, W), as one of this size. Raises CheckpointError."""
    model = _parsed(graph)
    picture, *others = _true_inputs(model.graph)
    if others or len(_dims(picture)) != 4:
        raise CheckpointError(f"the graph takes no picture of (N, 3, H, W) but {picture.name}: export the model again")
    for dim, size in zip(_dims(picture), (1, 3, size_wh[1], size_wh[0]), strict=True):
        dim.dim_value = size
    weights = [value for value in model.graph.input if value.name != picture.name]
    _replace(model.graph.input, [picture, *weights])
    _replace(model.graph.value_info, ())  # of the size that it had
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return bytes(shape_inference.infer_shapes(model).SerializeToString())


def graph_inputs(graph: bytes) -> tuple[TensorSpec, ...]:
    """What must be given to it: weights among the inputs are none. Raises CheckpointError."""
    model = _parsed(graph)
    return tuple(_spec(value) for value in _true_inputs(model.graph))


def graph_outputs(graph: bytes) -> tuple[TensorSpec, ...]:
    """What it answers. Raises CheckpointError."""
    return tuple(_spec(value) for value in _parsed(graph).graph.output)


def _parsed(graph: bytes) -> ModelProto:
    try:
        model = onnx.load_from_string(graph)
    except DecodeError:
        model = ModelProto()
    if not model.graph.node:
        raise CheckpointError("these bytes are no ONNX graph: restore the file or export the model again")
    return model


def _mended(model: ModelProto) -> ModelProto:
    """Everything that is exact and needs no arithmetic."""
    graph = model.graph
    inputs = _true_inputs(graph)
    _replace(graph.input, inputs)
    _replace(graph.value_info, ())  # as traced; whoever freed a size since has made them wrong
    model.ir_version = max(model.ir_version, OLDEST_IR)
    _widen(graph)
    _name_batch(graph)
    return _of_opset(model)


def _true_inputs(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _widen(graph: GraphProto) -> None:
    """float32 weights in the place of float16 ones and their Casts."""
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    casts = [node for node in graph.node if _widens(node) and node.input[0] in weights]
    for cast in casts:
        wide = numpy_helper.to_array(weights[cast.input[0]]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(wide, cast.output[0]))
    _replace(graph.node, [node for node in graph.node if node not in casts])
    drop_unused(graph)


def _widens(node: NodeProto) -> bool:
    return node.op_type == "Cast" and any(item.name == "to" and item.i == TensorProto.FLOAT for item in node.attribute)


def drop_unused(graph: GraphProto) -> None:
    """Weights that nobody reads."""
    used = {name for node in graph.node for name in _reads(node)} | {value.name for value in graph.output}
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used])


def _reads(node: NodeProto) -> Iterator[str]:
    """Its inputs, and those of the graphs within it."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for inner_node in inner.node:
                yield from _reads(inner_node)


def _name_batch(graph: GraphProto) -> None:
    values = [*graph.input, *graph.output]
    named = {dim.dim_param for value in graph.input for dim in _dims(value)[:1] if dim.dim_param}
    for dim in (dim for value in values for dim in _dims(value)):
        if dim.dim_param in named:
            dim.dim_param = BATCH


def _of_opset(model: ModelProto) -> ModelProto:
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    return model if opset >= OLDEST_OPSET else version_converter.convert_version(model, OLDEST_OPSET)


def _folded(model: ModelProto) -> ModelProto:
    """By ONNX Runtime's basic optimisations, which stay within ONNX's own operators."""
    model = _with_known_sizes(model)
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "folded.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(written)
        options.log_severity_level = 3
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(str(written))


def _with_known_sizes(model: ModelProto) -> ModelProto:
    """Sizes that the graph reads off a tensor as constants, where they are fixed.

    Tracers write ``x.chunk(3)`` as arithmetic on ``Shape(x)``; ONNX Runtime keeps all of it when the batch is free.
    """
    graph = shape_inference.infer_shapes(model).graph
    sizes = {value.name: _dims(value) for value in (*graph.value_info, *graph.input, *graph.output)}
    constants = dict(_constants(model.graph))
    shapes = {node.output[0]: sizes.get(node.input[0], []) for node in model.graph.node if node.op_type == "Shape"}
    nodes = [_known(node, shapes, constants) or node for node in model.graph.node]
    _replace(model.graph.node, nodes)
    drop_dead(model.graph)
    return model


def drop_dead(graph: GraphProto) -> None:
    """Nodes that nobody reads; ONNX Runtime leaves them in a written graph."""
    live, kept = {value.name for value in graph.output}, list[NodeProto]()
    for node in reversed(graph.node):
        if live.intersection(node.output):
            live.update(_reads(node))
            kept.append(node)
    _replace(graph.node, reversed(kept))


def _known(node: NodeProto, shapes: dict[str, list[Any]], constants: dict[str, Array]) -> NodeProto | None:
    """A Constant for the Gather of a fixed size; None for any other node."""
    if node.op_type != "Gather" or node.input[0] not in shapes or node.input[1] not in constants:
        return None
    dims, axes = shapes[node.input[0]], constants[node.input[1]]
    found = [dims[axis].dim_value for axis in axes.ravel()] if dims else [0]
    if not all(found):
        return None
    value = numpy_helper.from_array(np.array(found, np.int64).reshape(axes.shape))
    return helper.make_node("Constant", [], list(node.output), name=node.name, value=value)


def _constants(graph: GraphProto) -> Iterator[tuple[str, Array]]:
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.INT64:
            yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            yield node.output[0], numpy_helper.to_array(node.attribute[0].t)


def _tidy(model: ModelProto, domains: Iterable[str]) -> None:
    """Name every node, once, and name only the operator sets in use. Raises ValueError for a foreign one."""
    used = {"" if node.domain == "ai.onnx" else node.domain for node in model.graph.node}
    foreign = used - {"", *domains}
    if foreign:
        raise ValueError(f"folding needs operators of {', '.join(sorted(foreign))}")
    _replace(model.opset_import, [opset for opset in model.opset_import if opset.domain in used])
    taken = set[str]()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)


def _dims(value: onnx.ValueInfoProto) -> list[Any]:
    return list(value.type.tensor_type.shape.dim)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in _dims(value))
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return TensorSpec(value.name, shape, str(dtype))


def _replace(field: Any, values: Iterable[Any]) -> None:
    """A repeated field's content; values taken from the field itself are copied first."""
    kept = [_copy(value) for value in values]
    del field[:]
    field.extend(kept)


def _copy(value: Any) -> Any:
    copy = type(value)()
    copy.CopyFrom(value)
    return copy


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
