"""Exported graphs give the networks' own numbers, in ONNX Runtime, for any batch and any mask."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e .[train]")

import numpy as np  # noqa: E402
import onnx  # noqa: E402

from engines.catalog import BACKBONE_FILE, HEAD_FILE, SPEC_FILE  # noqa: E402
from engines.checkpoints.own import TrainedModel, load_checkpoint  # noqa: E402
from engines.export.package import CHECKPOINT_FILE, write_package  # noqa: E402
from engines.models.efficientnet_lite import FEATURE_DIM, FrameClassifier  # noqa: E402
from engines.models.gru_head import WINDOW_SLOTS, GruHead  # noqa: E402
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend  # noqa: E402
from engines.spec import load_spec, verify_files  # noqa: E402

SIZE = 96
MASKS = {
    "whole": np.ones(WINDOW_SLOTS),
    "right": np.arange(WINDOW_SLOTS) >= 12,
    "left": np.arange(WINDOW_SLOTS) < 7,
    "middle": (np.arange(WINDOW_SLOTS) < 5) | (np.arange(WINDOW_SLOTS) > 14),
    "alternating": np.arange(WINDOW_SLOTS) % 2,
    "none": np.zeros(WINDOW_SLOTS),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("model")
    write_package(folder, "toy", SIZE, TrainedModel(FrameClassifier(), GruHead(FEATURE_DIM)))
    return folder


@pytest.fixture(scope="module")
def stored(folder):
    return load_checkpoint(folder / CHECKPOINT_FILE)


@pytest.fixture(scope="module")
def backbone(folder):
    return OnnxRuntimeBackend(folder / BACKBONE_FILE, threads=1)


@pytest.fixture(scope="module")
def head(folder):
    return OnnxRuntimeBackend(folder / HEAD_FILE, threads=1)


def test_the_spec_names_and_hashes_all_three_files(folder):
    spec = load_spec(folder / SPEC_FILE)
    names = (CHECKPOINT_FILE, BACKBONE_FILE, HEAD_FILE)
    assert set(spec.files) == set(names)
    verify_files(folder, spec, names)


def test_tensors_bear_the_names_and_shapes_the_live_path_asks_for(backbone, head):
    assert {spec.name: spec.shape for spec in backbone.inputs} == {"crops": (None, 3, SIZE, SIZE)}
    assert {spec.name for spec in backbone.outputs} == {"features", "frame_logit"}
    window, mask = (None, WINDOW_SLOTS, FEATURE_DIM), (None, WINDOW_SLOTS)
    assert {spec.name: spec.shape for spec in head.inputs} == {"features": window, "mask": mask}
    assert {spec.name for spec in head.outputs} == {"logit"}


@pytest.mark.parametrize("count", [1, 3])
def test_the_backbone_graph_equals_the_network(backbone, stored, count):
    crops = np.random.default_rng(count).standard_normal((count, 3, SIZE, SIZE), dtype=np.float32)
    found = backbone.infer({"crops": crops})
    with torch.inference_mode():
        features = stored.backbone.forward_features(torch.from_numpy(crops))
        logits = stored.backbone.frame_head(features)
    np.testing.assert_allclose(found["features"], features.numpy(), atol=1e-4)
    np.testing.assert_allclose(found["frame_logit"], logits.numpy(), atol=1e-4)


@pytest.mark.parametrize("pattern", MASKS)
@pytest.mark.parametrize("count", [1, 3])
def test_the_head_graph_equals_the_network_under_any_mask(head, stored, pattern, count):
    features = np.random.default_rng(count).standard_normal((count, WINDOW_SLOTS, FEATURE_DIM), dtype=np.float32)
    mask = np.tile(MASKS[pattern].astype(np.float32), (count, 1))
    with torch.inference_mode():
        wanted = stored.head(torch.from_numpy(features), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(head.infer({"features": features, "mask": mask})["logit"], wanted, atol=1e-5)


def test_a_batch_scores_as_its_windows_do_one_by_one(head):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((6, WINDOW_SLOTS, FEATURE_DIM), dtype=np.float32)
    mask = np.stack(list(MASKS.values())).astype(np.float32)
    together = head.infer({"features": features, "mask": mask})["logit"]
    single = [head.infer({"features": features[i : i + 1], "mask": mask[i : i + 1]})["logit"][0] for i in range(6)]
    np.testing.assert_allclose(together, np.stack(single), atol=1e-6)


@pytest.mark.parametrize(("file", "limit"), [(BACKBONE_FILE, 7_500_000), (HEAD_FILE, 500_000)])
def test_graphs_are_small_because_weights_are_halves(folder, file, limit):
    graph = onnx.load(folder / file)
    assert (folder / file).stat().st_size < limit
    large = [t for t in graph.graph.initializer if len(t.dims) >= 2]
    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}


def test_graphs_are_of_the_promised_opset(folder):
    assert [entry.version for entry in onnx.load(folder / HEAD_FILE).opset_import if not entry.domain] == [17]
