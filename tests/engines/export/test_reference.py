from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.checkpoints.own import fresh_model, save_checkpoint
from engines.errors import InferenceError, RuntimeMissingError
from engines.export.graph import backbone_graph, head_graph
from engines.export.package import neutral_spec
from engines.export.reference import Reference, open_reference, reference_of
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.torch_reference import TorchBackend

NAME = "meso4"
SPEC = neutral_spec(NAME)


def crops(count: int) -> dict[str, Array]:
    size = SPEC.pixels.size
    return {"crops": np.random.default_rng(1).random((count, 3, size, size)).astype(np.float32)}


@pytest.fixture(scope="module")
def reference() -> Reference:
    torch.manual_seed(5)
    return reference_of(fresh_model(NAME), SPEC)


def test_a_checkpoint_answers_as_its_graphs_do(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = fresh_model(NAME)
    save_checkpoint(tmp_path / "m.safetensors", model, half=False)
    opened = open_reference(tmp_path / "m.safetensors", SPEC)
    assert opened.backbone is not None
    assert opened.head is not None
    assert model.backbone is not None
    assert model.head is not None
    backbone = OnnxRuntimeBackend(backbone_graph(model.backbone, SPEC.pixels.size, half=False))
    head = OnnxRuntimeBackend(head_graph(model.head, SPEC.window.slots, half=False))
    for known, graph, arrays in (
        (opened.backbone, backbone, crops(3)),
        (opened.head, head, _window(model.head.feature_dim)),
    ):
        assert known.inputs == graph.inputs
        assert {spec.name for spec in known.outputs} == {spec.name for spec in graph.outputs}
        wanted = graph.infer(arrays)
        for name, values in known.infer(arrays).items():
            np.testing.assert_allclose(values, wanted[name], atol=1e-4)


def _window(width: int) -> dict[str, Array]:
    rng = np.random.default_rng(2)
    mask = (rng.random((2, SPEC.window.slots)) < 0.7).astype(np.float32)
    return {"features": rng.random((2, SPEC.window.slots, width)).astype(np.float32), "mask": mask}


def test_the_reference_is_named_for_torch_and_its_device(reference: Reference) -> None:
    assert reference.backbone is not None
    assert reference.backbone.name == "torch-cpu"


def test_inputs_are_checked_before_torch_sees_them(reference: Reference) -> None:
    assert reference.backbone is not None
    with pytest.raises(InferenceError, match="crops must be float32"):
        reference.backbone.infer({"crops": crops(1)["crops"].astype(np.float64)})


def test_a_gpu_that_torch_has_not_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeMissingError, match="torch-cpu"):
        reference_of(fresh_model(NAME), SPEC, "cuda")


def test_a_failure_while_running_is_one_line() -> None:
    backend = TorchBackend(torch.nn.Linear(3, 1), (TensorSpec("x", (None, 4)),), (TensorSpec("y", (None, 1)),))
    with pytest.raises(InferenceError, match="torch failed") as caught:
        backend.infer({"x": np.zeros((2, 4), np.float32)})
    assert "\n" not in str(caught.value)


def test_a_closed_network_runs_no_more_and_closes_twice() -> None:
    backend = TorchBackend(torch.nn.Linear(4, 1), (TensorSpec("x", (None, 4)),), (TensorSpec("y", (None, 1)),))
    backend.close()
    backend.close()
    with pytest.raises(InferenceError, match="closed"):
        backend.infer({"x": np.zeros((2, 4), np.float32)})
