"""Networks to ONNX graphs with named tensors and a dynamic batch.

Graphs keep their batch norms apart (``PRESERVE``), so each stored weight is exactly the checkpoint's; ONNX Runtime
folds them on load.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from engines.checkpoints.networks import Head
from engines.export.storage import with_half_storage
from engines.models.backbone import Backbone

OPSET = 17
TRACED_BATCH = 2
"""Batch while tracing; not 1, which tracing may take for a constant."""


class BackboneOutputs(nn.Module):
    """The backbone as the live path uses it: features and, where there is a frame head, the logit of one pass."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, S, S) to (N, F) and (N, 1)."""
        features = self.backbone.forward_features(crops)
        head = self.backbone.frame_head
        return (features,) if head is None else (features, head(features))


def backbone_graph(backbone: Backbone, size: int, *, half: bool = True) -> bytes:
    """``crops`` (N, 3, size, size) -> ``features`` (N, F) and, where it has a frame head, ``frame_logit`` (N, 1)."""
    outputs = ("features",) if backbone.frame_head is None else ("features", "frame_logit")
    crops = torch.zeros(TRACED_BATCH, 3, size, size)
    return _exported(BackboneOutputs(backbone), (crops,), ("crops",), outputs, half)


def head_graph(head: Head, slots: int, *, half: bool = True) -> bytes:
    """``features`` (N, slots, F) and ``mask`` (N, slots) -> ``logit`` (N, 1)."""
    window = torch.zeros(TRACED_BATCH, slots, head.feature_dim)
    return _exported(head, (window, torch.ones(TRACED_BATCH, slots)), ("features", "mask"), ("logit",), half)


def _exported(
    network: nn.Module, examples: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], half: bool
) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter warns that it is deprecated, and of traced shapes
        torch.onnx.export(
            network.eval(),
            examples,
            stream,  # type: ignore[arg-type]  # torch also takes an open file, its stub does not say so
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
            opset_version=OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamo=False,
        )
    graph = onnx.load_from_string(stream.getvalue())
    graph = with_half_storage(graph) if half else graph
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString())
