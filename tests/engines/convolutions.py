"""A small network of real layers, so that runtimes and precisions have something to differ on."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.runtime.ports import Array

SIDE, WIDTH = 16, 32


def convolutions() -> bytes:
    """``crops`` (n, 3, 16, 16) through two convolutions and a mean to ``features`` (n, 32)."""
    rng = np.random.default_rng(7)
    first = rng.normal(0, 0.3, (WIDTH, 3, 3, 3)).astype(np.float32)
    second = rng.normal(0, 0.1, (WIDTH, WIDTH, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["crops", "w1"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    crops = helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", WIDTH])
    weights = [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(second, "w2")]
    graph = helper.make_graph(nodes, "convolutions", [crops], [features], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def pictures(count: int) -> Array:
    """(count, 3, 16, 16) float32, 0-1; the first ones are always the same."""
    return np.random.default_rng(3).random((count, 3, SIDE, SIDE)).astype(np.float32)
