"""Measure a shipped model on faces of the data set: ``python -m engines.training.evaluate --data DIR``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.catalog import DEFAULT_MODEL, open_model
from engines.errors import EngineError
from engines.postprocess import fake_probability
from engines.preprocess import Square, crop_rgb
from engines.runtime.ports import Backend
from engines.spec import Calibration, ModelSpec
from engines.training.errors import TrainingError
from engines.training.faces import Face, FaceSet, load_faces, read_faces
from engines.training.metrics import equal_error_rate, expected_calibration_error, hit_rate_at, log_loss, roc_auc
from engines.training.windows import embed

_BATCH = 32


def frame_logits(backbone: Backend, spec: ModelSpec, faces: FaceSet, margin: float = 1.0) -> NDArray[np.float64]:
    """(N,) uncalibrated logits; ``margin`` below 1 looks closer, above 1 from further off.

    Raises TrainingError for a model that says nothing of single frames.
    """
    if spec.frame_calibration is None:
        raise TrainingError(f"{spec.name} has no frame logit: measure it on clips")
    side = faces.pixels.shape[1]
    square = Square(side / 2, side / 2, side * margin)
    parts = []
    for start in range(0, len(faces.faces), _BATCH):
        crops = [crop_rgb(rgb, square, spec.pixels.size) for rgb in faces.pixels[start : start + _BATCH]]
        parts.append(embed(backbone, spec, crops)[1])
    return np.concatenate(parts).astype(np.float64)


def frame_report(logits: NDArray[np.float64], labels: NDArray[np.int64], spec: ModelSpec) -> dict[str, float]:
    """Numbers of a set of single frames, by name; labels are 1 for fake, whatever a high logit means."""
    probabilities = fake_probability(
        logits, spec.frame_calibration or Calibration(temperature=1.0), spec.positive_class
    )
    towards_fake = logits if spec.positive_class == "fake" else -logits
    return {
        "images": len(labels),
        "auc": roc_auc(labels, towards_fake),
        "eer": equal_error_rate(labels, towards_fake),
        "tpr_at_fpr_1": hit_rate_at(labels, towards_fake, 0.01),
        "log_loss": log_loss(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities, balanced=True),
    }


def sample(faces: list[Face], split: str, limit: int, seed: int = 0) -> list[Face]:
    """At most ``limit`` faces of a split, drawn at random; 0 takes all."""
    found = [face for face in faces if face.split == split]
    if not limit:
        return found
    return [found[row] for row in np.random.default_rng(seed).permutation(len(found))[:limit]]


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object; exit 2 with one line when something is missing."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.evaluate", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="catalog name or a model's folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of deepfake-faces: metadata.csv and pictures")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=0, help="at most so many pictures, drawn at random")
    parser.add_argument("--margin", type=float, default=1.0, help="crop side as a multiple of the picture's")
    options = parser.parse_args(argv)
    try:
        faces = load_faces(options.data, sample(read_faces(options.data), options.split, options.limit))
        model = open_model(options.model)
        logits = frame_logits(model.backbone, model.spec, faces, options.margin)
        print(json.dumps(frame_report(logits, faces.labels, model.spec), indent=2))
    except EngineError as error:
        print(f"unmask: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
