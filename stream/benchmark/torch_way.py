"""A model's networks in PyTorch, from the same checkpoint as its graphs: only the comparison uses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from engines.checkpoints.own import load_checkpoint
from engines.errors import CheckpointError
from engines.preprocess import Bytes, Floats, normalise
from engines.spec import ModelSpec

CHECKPOINT = "checkpoint.safetensors"


class TorchNetworks:
    """Crops to features and windows to logits, on one CPU thread as the other ways' runtimes."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        """Raises CheckpointError when the folder has no checkpoint with both networks."""
        loaded = load_checkpoint(folder / CHECKPOINT)
        if loaded.backbone is None or loaded.head is None:
            raise CheckpointError(f"{folder} has only a part of a model: take one with backbone and head")
        self._spec, self._backbone, self._head = spec, loaded.backbone.eval(), loaded.head.eval()
        torch.set_num_threads(1)

    def embed(self, crops: Sequence[Bytes]) -> Floats:
        """(N, F) of N crops, each (S, S, 3) RGB."""
        with torch.inference_mode():
            batch = torch.from_numpy(normalise(crops, self._spec.pixels))
            return np.asarray(self._backbone.forward_features(batch).numpy(), np.float32)

    def score(self, features: Floats, mask: Floats) -> Floats:
        """(N,) logits of ``features`` (N, T, F) and ``mask`` (N, T)."""
        with torch.inference_mode():
            logits = self._head(torch.from_numpy(features), torch.from_numpy(mask))
            return np.asarray(logits.numpy(), np.float32).reshape(-1)
