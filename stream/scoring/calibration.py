"""From a head's raw logit to the one number everybody sees: ``fake_probability``, where 1 is fake."""

from __future__ import annotations

from numpy.typing import ArrayLike

from engines import postprocess
from engines.postprocess import Probabilities
from engines.spec import ModelSpec


def fake_probability(logits: ArrayLike, spec: ModelSpec) -> Probabilities:
    """Calibrated probability of being fake for each raw logit, in the logits' shape, whatever the model's polarity."""
    return postprocess.fake_probability(logits, spec.calibration, spec.positive_class)
