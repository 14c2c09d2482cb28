"""float16 graphs: everything in half precision but islands of float32, and float32 at the edges.

A float16 ends at 65,504, keeps 11 bits and loses what is below 6e-8. Nodes whose numbers come near stay float32. Which
do is measured on real inputs, twice: where the float32 graph's numbers are large, and where its *half twin* gives
infinity or NaN. The twin is a float32 graph that rounds every value as float16 hardware would; ONNX Runtime's CPU has
no float16 arithmetic and silently keeps float32 between float16 nodes, so that a float16 graph proves nothing there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from engines.export.sanitise import drop_unused
from engines.runtime.ports import Array

LARGEST = 3e4
"""Peaks beyond this stay float32: half of what float16 holds, for inputs that nobody calibrated on."""
FLOAT32_OPS = frozenset(
    {"CumSum", "Exp", "GlobalAveragePool", "InstanceNormalization", "LayerNormalization", "Log", "LogSoftmax", "Pow"}
    | {"ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare", "Softmax"}
    | {"If", "Loop", "NonMaxSuppression", "Range", "RoiAlign", "Scan"}
)
"""Sums over many numbers, steep functions, and what holds graphs or has no float16 form; they cost next to nothing in
these networks."""
FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Inputs by place that are float32 whatever the others are: the region and the scales."""
_PEAK = "peak of "


@dataclass(frozen=True)
class Wiring:
    """Who makes and who reads each value of a graph."""

    model: ModelProto
    floats: frozenset[str]
    """Values that are float32 tensors, weights and inputs included."""

    @property
    def nodes(self) -> Sequence[NodeProto]:
        return list(self.model.graph.node)

    def touching(self, values: Collection[str]) -> set[str]:
        """Names of the nodes that make or read one of the values."""
        wanted = set(values)
        return {node.name for node in self.nodes if wanted.intersection([*node.input, *node.output])}


def half_graph(graph: bytes, batches: Sequence[Mapping[str, Array]], keep: Collection[str] = ()) -> bytes:
    """The graph in float16, its inputs and outputs in float32; ``keep`` and ``islands`` stay float32.

    Every value has one type and every Cast is written down, as a strongly typed TensorRT network wants it. The float16
    converter that comes with ONNX Runtime clips large weights silently, leaves nodes unsorted, and rounds what one
    float32 node hands to the next.
    """
    model = _halved(_wiring(graph), islands(graph, batches, keep), is_twin=False)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def islands(graph: bytes, batches: Sequence[Mapping[str, Array]], keep: Collection[str] = ()) -> frozenset[str]:
    """Names of the nodes that stay float32. Without batches only the weights are looked at."""
    wiring = _wiring(graph)
    kept = {node.name for node in wiring.nodes if node.op_type in FLOAT32_OPS} | set(keep)
    kept |= wiring.touching([*_large_weights(wiring), *_large_values(wiring, batches)])
    while batches:
        fresh = _overflowing(wiring, kept, batches) - kept
        if not fresh:
            break
        kept |= fresh
    return frozenset(kept)


def half_twin(graph: bytes, kept: Collection[str]) -> bytes:
    """A float32 graph that rounds to float16 whatever nodes outside ``kept`` read and make.

    As a GPU does it: products are summed in float32, each result is rounded once.
    """
    return bytes(_halved(_wiring(graph), kept, is_twin=True).SerializeToString())


def _wiring(graph: bytes) -> Wiring:
    model = shape_inference.infer_shapes(onnx.load_from_string(graph))
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    weights = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    return Wiring(model, frozenset(floats | weights))


def _large_weights(wiring: Wiring) -> Iterator[str]:
    for tensor in wiring.model.graph.initializer:
        if tensor.name in wiring.floats and np.abs(numpy_helper.to_array(tensor)).max(initial=0) > LARGEST:
            yield tensor.name


def _large_values(wiring: Wiring, batches: Sequence[Mapping[str, Array]]) -> list[str]:
    return [name for name, peak in _peaks(wiring.model, wiring.floats, batches).items() if not peak <= LARGEST]


def _overflowing(wiring: Wiring, kept: Collection[str], batches: Sequence[Mapping[str, Array]]) -> set[str]:
    """Nodes that turn finite numbers into others in float16, and the makers of what they read."""
    peaks = _peaks(_halved(wiring, kept, is_twin=True), wiring.floats, batches)
    bad = {name for name, peak in peaks.items() if not math.isfinite(peak)}
    first = [node for node in wiring.nodes if bad.intersection(node.output) and not bad.intersection(node.input)]
    read = {name for node in first for name in node.input}
    return {node.name for node in first} | {node.name for node in wiring.nodes if read.intersection(node.output)}


def _peaks(model: ModelProto, values: Collection[str], batches: Sequence[Mapping[str, Array]]) -> dict[str, float]:
    """The largest magnitude of each value over all batches; NaN where there was an infinity or a NaN."""
    if not batches:
        return {}
    weights = {tensor.name for tensor in model.graph.initializer}
    made = {name for node in model.graph.node for name in node.output} | {value.name for value in model.graph.input}
    watched = sorted((set(values) & made) - weights)
    session = _session(_with_peaks(model, watched))
    measured = [session.run([f"{_PEAK}{name}" for name in watched], dict(batch)) for batch in batches]
    return dict(zip(watched, np.max(np.array(measured, np.float64), axis=0).tolist(), strict=True))


def _with_peaks(model: ModelProto, values: Iterable[str]) -> bytes:
    """``max|x| + sum(0 x)`` of each value as one more output: a maximum alone may overlook a NaN."""
    watching = ModelProto()
    watching.CopyFrom(model)
    graph = watching.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(0), f"{_PEAK}zero"))
    for name in values:
        steps = {step: f"{_PEAK}{name} ({step})" for step in ("size", "largest", "nothing", "sum")}
        graph.node.extend(
            [
                helper.make_node("Abs", [name], [steps["size"]]),
                helper.make_node("ReduceMax", [steps["size"]], [steps["largest"]], keepdims=0),
                helper.make_node("Mul", [name, f"{_PEAK}zero"], [steps["nothing"]]),
                helper.make_node("ReduceSum", [steps["nothing"]], [steps["sum"]], keepdims=0),
                helper.make_node("Add", [steps["largest"], steps["sum"]], [f"{_PEAK}{name}"]),
            ]
        )
        graph.output.append(helper.make_tensor_value_info(f"{_PEAK}{name}", TensorProto.FLOAT, []))
    return bytes(watching.SerializeToString())


def _session(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # each value must be as written
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _halved(wiring: Wiring, kept: Collection[str], *, is_twin: bool) -> ModelProto:
    model = ModelProto()
    model.CopyFrom(wiring.model)
    del model.graph.node[:], model.graph.value_info[:]
    walk = _Walk(model, wiring.floats, is_twin)
    for node in wiring.nodes:
        walk.add(node, is_half=node.name not in kept)
    for value in model.graph.output:
        walk.variant(value.name, is_half=False)
    drop_unused(model.graph)
    return model


class _Walk:
    """Writes nodes in their order; each float value has a variant of its own name, one in half precision, or both."""

    def __init__(self, model: ModelProto, floats: Collection[str], is_twin: bool) -> None:
        self._graph, self._floats, self._is_twin = model.graph, floats, is_twin
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._made = {value.name for value in model.graph.input} | set(self._weights)

    def add(self, node: NodeProto, *, is_half: bool) -> None:
        copy = NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name in self._floats:
                copy.input[index] = self.variant(name, is_half and index not in FLOAT32_INPUTS.get(node.op_type, ()))
        made = [(index, name) for index, name in enumerate(node.output) if name in self._floats]
        for index, name in made:
            copy.output[index] = _half(name) if is_half else name
            self._made.add(copy.output[index])
        if is_half and not self._is_twin:
            _retype(copy)
        self._graph.node.append(copy)
        if is_half and self._is_twin:
            self._round_results(copy, [index for index, _ in made])

    def variant(self, name: str, is_half: bool) -> str:
        """The value's name in this precision; converted where it is first asked for."""
        wanted, other = (_half(name), name) if is_half else (name, _half(name))
        if wanted not in self._made:
            self._made.add(wanted)
            self._convert(other, wanted, is_half)
        return wanted

    def _convert(self, source: str, target: str, is_half: bool) -> None:
        if source in self._weights:
            half = numpy_helper.to_array(self._weights[source]).astype(np.float16)
            half = half.astype(np.float32) if self._is_twin else half
            self._graph.initializer.append(numpy_helper.from_array(half, target))
        elif not self._is_twin:
            self._graph.node.append(_cast(source, target, TensorProto.FLOAT16 if is_half else TensorProto.FLOAT))
        elif is_half:
            self._graph.node.extend(_rounding(source, target))
        else:
            self._graph.node.append(helper.make_node("Identity", [source], [target], name=f"{target} (as it is)"))

    def _round_results(self, node: NodeProto, indices: Iterable[int]) -> None:
        for index in indices:
            name, node.output[index] = node.output[index], f"{node.output[index]} (exact)"
            self._graph.node[-1].output[index] = node.output[index]
            self._graph.node.extend(_rounding(node.output[index], name))


def _half(name: str) -> str:
    return f"{name} (half)"


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target} (cast)", to=to)


def _rounding(source: str, target: str) -> list[NodeProto]:
    narrow = f"{target} (narrow)"
    return [_cast(source, narrow, TensorProto.FLOAT16), _cast(narrow, target, TensorProto.FLOAT)]


def _retype(node: NodeProto) -> None:
    """What a node says of its own result's type."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))
