"""Labelled clips through the live path: what ``unmask score`` says of each, and what single frames said on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from engines.postprocess import fake_probability
from engines.runtime.ports import Array, Backend
from engines.runtime.wrapped import WrappedBackend
from engines.spec import ModelSpec
from engines.training.labelled_clips import Clip
from engines.training.scored import Floats, Item, Scored
from stream.config import AppConfig
from stream.errors import UnmaskError
from stream.parts import Parts
from stream.score import FileScore, score_file
from stream.scoring.scorer import ModelScorer

OnClip = Callable[[str], None]
"""Told the name of each clip that is done."""
_SUREST = 1e-6


class FrameLogitRecorder(WrappedBackend):
    """A backbone that remembers the frame logits it gave. The backend stays the caller's to close."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._given: list[Floats] = []

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        answer = super().infer(arrays)
        if "frame_logit" in answer:
            self._given.append(answer["frame_logit"][:, 0].astype(np.float64))
        return answer

    def take(self) -> Floats:
        """(N,) all logits since the last call."""
        given, self._given = self._given, []
        return np.concatenate([np.zeros(0), *given])


@dataclass(frozen=True, repr=False)
class ClipScore:
    """One clip that could be read."""

    item: Item
    score: FileScore
    frame_logits: Floats
    """(N,) of all sampled faces in it, as the network gave them; empty for a model without a frame logit."""


@dataclass
class ClipScores:
    """All clips of a set."""

    read: list[ClipScore] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Clip -> why it could not be read."""

    @property
    def unscored(self) -> tuple[Item, ...]:
        """Clips without a scored face."""
        return tuple(one.item for one in self.read if one.score.fake_probability is None)

    def scored(self) -> Scored:
        """One item a clip: its most suspicious track's probability, and the log odds of it."""
        found = [(one.item, p) for one in self.read if (p := one.score.fake_probability) is not None]
        probabilities = np.array([p for _, p in found], np.float64)
        bounded = np.clip(probabilities, _SUREST, 1 - _SUREST)
        return Scored(tuple(item for item, _ in found), np.log(bounded / (1 - bounded)), probabilities)

    def frames(self, spec: ModelSpec) -> Scored:
        """One item a sampled face, with its clip's label, of the scored clips; without a frame logit there are none."""
        kept = [one for one in self.read if one.score.fake_probability is not None]
        raw = np.concatenate([np.zeros(0), *(one.frame_logits for one in kept)])
        items = tuple(one.item for one in kept for _ in one.frame_logits)
        probabilities = fake_probability(raw, spec.frame_calibration or spec.calibration, spec.positive_class)
        return Scored(items, raw if spec.positive_class == "fake" else -raw, probabilities)


def score_clips(clips: Sequence[Clip], config: AppConfig, parts: Parts, margin: float, on_clip: OnClip) -> ClipScores:
    """Score each clip as ``unmask score`` does; one that cannot be read is kept with its reason.

    ``margin`` widens the model's own framing of a face.
    """
    spec, recorder = _framed(parts.model.spec, margin), FrameLogitRecorder(parts.model.backbone)
    watched = replace(parts, scorer=ModelScorer(recorder, parts.model.head, spec))
    found = ClipScores()
    for clip in clips:
        try:
            score = score_file(clip.path, config, watched)
            found.read.append(ClipScore(clip.item, score, recorder.take()))
        except UnmaskError as error:
            recorder.take()
            found.failed[clip.item.name] = str(error)
        on_clip(clip.item.name)
    return found


def _framed(spec: ModelSpec, margin: float) -> ModelSpec:
    pixels = spec.pixels.model_copy(update={"crop_margin": spec.pixels.crop_margin * margin})
    return spec.model_copy(update={"pixels": pixels})
