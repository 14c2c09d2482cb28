from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.errors import CheckpointError, InferenceError
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.runtime.ports import TensorSpec


def graph() -> bytes:
    """y = reshape(x, (2, -1)) + 1: refuses an odd number of values only while running."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2, -1])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Add", ["r", "one"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, "m"])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [shape, one]), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_a_graph_runs_from_bytes_and_from_a_file_alike(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph())
    x = np.arange(6, dtype=np.float32)
    for backend in (OnnxRuntimeBackend(graph(), threads=1), OnnxRuntimeBackend(path)):
        assert backend.infer({"x": x})["y"].tolist() == [[1, 2, 3], [4, 5, 6]]
        assert backend.inputs == (TensorSpec("x", (None,)),)
        assert backend.outputs == (TensorSpec("y", (2, None)),)


def test_inputs_are_checked_before_the_runtime_sees_them() -> None:
    with pytest.raises(InferenceError, match="x must be float32"):
        OnnxRuntimeBackend(graph()).infer({"x": np.zeros(4)})


def test_a_failure_while_running_is_one_line() -> None:
    with pytest.raises(InferenceError, match="ONNX Runtime failed") as caught:
        OnnxRuntimeBackend(graph()).infer({"x": np.zeros(3, np.float32)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a graph", graph()[: len(graph()) // 2]])
def test_a_file_that_is_no_graph_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.onnx.*restore or rebuild") as caught:
        OnnxRuntimeBackend(path)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.onnx"):
        OnnxRuntimeBackend(tmp_path / "absent.onnx")


def test_a_closed_model_runs_no_more_and_closes_twice() -> None:
    backend = OnnxRuntimeBackend(graph())
    backend.close()
    backend.close()
    with pytest.raises(InferenceError, match="closed"):
        backend.infer({"x": np.zeros(4, np.float32)})
