"""Weights stored as float16 inside a float32 graph: half the file, the same arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def with_half_storage(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store float32 initializers of two and more dimensions as float16 behind a Cast; runtimes fold it on load."""
    graph = model.graph
    large = [tensor for tensor in graph.initializer if _is_large(tensor)]
    casts = [_halve(tensor) for tensor in large]
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _is_large(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2


def _halve(tensor: TensorProto) -> onnx.NodeProto:
    """Replace the tensor's values in place and give the Cast that restores its name and type."""
    name = tensor.name
    half = numpy_helper.to_array(tensor).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
    return helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.widen", to=TensorProto.FLOAT)
