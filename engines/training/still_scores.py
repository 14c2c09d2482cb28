"""Stills through a model's graphs: the backbone's own frame logit, or else a window filled with the one sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from engines.catalog import LoadedModel
from engines.postprocess import fake_probability
from engines.preprocess import Square, crop_rgb, normalise
from engines.runtime.ports import Backend
from engines.spec import ModelSpec
from engines.training.errors import TrainingError
from engines.training.faces import FaceSet
from engines.training.floor import picture_features
from engines.training.scored import Floats, Scored
from engines.training.stills import Still

Rgb = NDArray[np.uint8]
OnItems = Callable[[int], None]
"""Told how many more items are done."""
_BATCH = 32


def _ignore(_more: int) -> None:
    """Nobody asked for progress."""


@dataclass(frozen=True)
class Framing:
    """How a still becomes crops."""

    margin: float = 1.0
    """Crop side as a multiple of the picture's: below 1 looks closer, above 1 from further off."""
    mirror: bool | None = None
    """Average the logits of the crop and of its mirror image; None does as the model's spec says."""


@dataclass(frozen=True, repr=False)
class StillScorer:
    """A model for single pictures."""

    model: LoadedModel
    framing: Framing = Framing()

    @property
    def has_frame_logit(self) -> bool:
        """Else a window with the one sample in every slot is scored by the head."""
        return "frame_logit" in {output.name for output in self.model.backbone.outputs}

    @property
    def mirrors(self) -> bool:
        return self.model.spec.still_mirror if self.framing.mirror is None else self.framing.mirror

    @property
    def way(self) -> str:
        """For people and reports."""
        mirrored = ", mean of the crop and its mirror image" if self.mirrors else ""
        return ("frame logit of the backbone" if self.has_frame_logit else "window of one sample") + mirrored

    def logits(self, pictures: Sequence[Rgb]) -> Floats:
        """(N,) logits of (H, W, 3) RGB pictures, high for fake."""
        crops = [self._crop(rgb) for rgb in pictures]
        raw = self._raw(crops)
        if self.mirrors:
            raw = (raw + self._raw([_mirrored(crop) for crop in crops])) / 2
        return raw if self.model.spec.positive_class == "fake" else -raw

    def probabilities(self, logits: Floats) -> Floats:
        """Calibrated as the model ships; of logits that are high for fake."""
        spec = self.model.spec
        calibration = spec.frame_calibration if self.has_frame_logit else spec.calibration
        if calibration is None:
            raise TrainingError(f"{spec.name} has a frame logit without a calibration: export the model again")
        return fake_probability(logits if spec.positive_class == "fake" else -logits, calibration, spec.positive_class)

    def _crop(self, rgb: Rgb) -> Rgb:
        height, width = rgb.shape[:2]
        square = Square(width / 2, height / 2, max(width, height) * self.framing.margin)
        return crop_rgb(rgb, square, self.model.spec.pixels.size)

    def _raw(self, crops: list[Rgb]) -> Floats:
        answer = self.model.backbone.infer({"crops": normalise(crops, self.model.spec.pixels)})
        if self.has_frame_logit:
            return answer["frame_logit"][:, 0].astype(np.float64)
        slots = self.model.spec.window.slots
        window = {
            "features": np.repeat(answer["features"][:, None], slots, axis=1),
            "mask": np.ones((len(crops), slots), np.float32),
        }
        return self.model.head.infer(window)["logit"][:, 0].astype(np.float64)


@dataclass(frozen=True, repr=False)
class ScoredStills:
    """Scores beside what a baseline without a network sees."""

    scored: Scored
    features: Floats
    """(N, K) of ``floor.FEATURES``."""


def score_stills(stills: Iterable[Still], scorer: StillScorer, on_items: OnItems = _ignore) -> ScoredStills:
    """Score every picture, some at a time. Raises TrainingError when there is none."""
    items, logits, features = [], [], []
    for batch in _batches(stills):
        logits.append(scorer.logits([still.rgb for still in batch]))
        features += [picture_features(still.rgb, still.file_bytes) for still in batch]
        items += [still.item for still in batch]
        on_items(len(batch))
    if not items:
        raise TrainingError(
            "no pictures of the asked-for rows: expected faces_224/ or faces_224*.zip beside metadata.csv"
        )
    all_logits = np.concatenate(logits)
    return ScoredStills(Scored(tuple(items), all_logits, scorer.probabilities(all_logits)), np.stack(features))


def frame_logits(backbone: Backend, spec: ModelSpec, faces: FaceSet, margin: float = 1.0) -> Floats:
    """(N,) the backbone's uncalibrated logits of the training set's faces.

    Raises TrainingError for a model that says nothing of single frames.
    """
    if spec.frame_calibration is None:
        raise TrainingError(f"{spec.name} has no frame logit: measure it on clips")
    side = faces.pixels.shape[1]
    square = Square(side / 2, side / 2, side * margin)
    parts = []
    for start in range(0, len(faces.faces), _BATCH):
        crops = [crop_rgb(rgb, square, spec.pixels.size) for rgb in faces.pixels[start : start + _BATCH]]
        views = [crops, [_mirrored(crop) for crop in crops]] if spec.still_mirror else [crops]
        answers = [backbone.infer({"crops": normalise(view, spec.pixels)})["frame_logit"][:, 0] for view in views]
        parts.append(np.mean(answers, axis=0))
    return np.concatenate(parts).astype(np.float64)


def _mirrored(crop: Rgb) -> Rgb:
    return np.ascontiguousarray(crop[:, ::-1])


def _batches(stills: Iterable[Still]) -> Iterator[list[Still]]:
    left = iter(stills)
    while batch := list(islice(left, _BATCH)):
        yield batch
