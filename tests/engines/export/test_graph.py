"""Exported graphs: the same numbers as torch, for any batch and any mask."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from engines.checkpoints.own import TrainedModel, load_checkpoint, save_checkpoint
from engines.export.graph import backbone_graph, head_graph
from engines.models.efficientnet_lite import FEATURE_DIM, FrameClassifier
from engines.models.gru_head import WINDOW_SLOTS, GruHead
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend

SIZE = 64
MASKS = {
    "none missing": np.ones(WINDOW_SLOTS),
    "all missing": np.zeros(WINDOW_SLOTS),
    "oldest missing": np.arange(WINDOW_SLOTS) >= 15,
    "newest missing": np.arange(WINDOW_SLOTS) < 5,
    "middle missing": np.abs(np.arange(WINDOW_SLOTS) - 9.5) > 4,
    "every other missing": np.arange(WINDOW_SLOTS) % 2,
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """A model with the weights of its file: rounded to float16 where the file does so."""
    torch.manual_seed(0)
    backbone, head = FrameClassifier(), GruHead(FEATURE_DIM)
    for _ in range(3):  # running statistics other than their start
        backbone(torch.randn(8, 3, SIZE, SIZE))
    head.feature_mean.uniform_(0, 1)
    head.feature_scale.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp("graph") / "checkpoint.safetensors"
    save_checkpoint(path, TrainedModel(backbone, head))
    return load_checkpoint(path)


@pytest.fixture(scope="module")
def backbone(stored: TrainedModel) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(backbone_graph(stored.backbone, SIZE), threads=1)


@pytest.fixture(scope="module")
def head(stored: TrainedModel) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(head_graph(stored.head, WINDOW_SLOTS), threads=1)


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_backbone_graph_is_the_torch_backbone(
    stored: TrainedModel, backbone: OnnxRuntimeBackend, batch: int
) -> None:
    crops = floats(batch, 3, SIZE, SIZE)
    with torch.inference_mode():
        features = stored.backbone.forward_features(torch.from_numpy(crops))
        logits = stored.backbone(torch.from_numpy(crops))
    answer = backbone.infer({"crops": crops})
    np.testing.assert_allclose(answer["features"], features.numpy(), atol=2e-4)
    np.testing.assert_allclose(answer["frame_logit"], logits.numpy(), atol=2e-4)


@pytest.mark.parametrize("pattern", MASKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_head_graph_is_the_torch_head_under_any_mask(
    stored: TrainedModel, head: OnnxRuntimeBackend, pattern: str, batch: int
) -> None:
    features = floats(batch, WINDOW_SLOTS, FEATURE_DIM)
    mask = np.tile(MASKS[pattern].astype(np.float32), (batch, 1))
    with torch.inference_mode():
        expected = stored.head(torch.from_numpy(features), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(head.infer({"features": features, "mask": mask})["logit"], expected, atol=1e-5)


def test_a_missing_slot_may_hold_anything_in_the_graph_too(head: OnnxRuntimeBackend) -> None:
    features, mask = floats(1, WINDOW_SLOTS, FEATURE_DIM), np.ones((1, WINDOW_SLOTS), np.float32)
    mask[:, 4:9] = 0
    spoilt = features.copy()
    spoilt[:, 4:9] = np.nan
    clean = head.infer({"features": features, "mask": mask})["logit"]
    np.testing.assert_array_equal(head.infer({"features": spoilt, "mask": mask})["logit"], clean)


def test_graphs_name_their_tensors_and_leave_the_batch_open(
    backbone: OnnxRuntimeBackend, head: OnnxRuntimeBackend
) -> None:
    assert [(spec.name, spec.shape) for spec in backbone.inputs] == [("crops", (None, 3, SIZE, SIZE))]
    assert [spec.name for spec in backbone.outputs] == ["features", "frame_logit"]
    assert {(spec.name, spec.shape) for spec in head.inputs} == {
        ("features", (None, WINDOW_SLOTS, FEATURE_DIM)),
        ("mask", (None, WINDOW_SLOTS)),
    }
    assert [spec.name for spec in head.outputs] == ["logit"]


def test_weights_take_two_bytes_each_and_arithmetic_stays_float32(stored: TrainedModel, tmp_path: Path) -> None:
    data = backbone_graph(stored.backbone, SIZE)
    assert 6e6 < len(data) < 8e6
    graph = onnx.load_from_string(data).graph
    large = [tensor for tensor in graph.initializer if len(tensor.dims) >= 2]
    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}
    assert all(output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for output in graph.output)
    onnx.save(onnx.load_from_string(data), str(tmp_path / "graph.onnx"))
    assert OnnxRuntimeBackend(tmp_path / "graph.onnx", threads=1).inputs[0].dtype == "float32"
