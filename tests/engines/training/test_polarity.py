"""Whatever a high logit means in a model, 1 is fake in what is measured of it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from engines.export.package import neutral_spec
from engines.postprocess import fake_probability
from engines.runtime.ports import TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.spec import Calibration
from engines.training.errors import TrainingError
from engines.training.faces import FaceSet
from engines.training.still_scores import frame_logits


def test_a_logit_that_says_real_is_turned_round() -> None:
    calibration = Calibration(temperature=2.0, bias=1.0)
    fake = fake_probability([-1.0, 3.0], calibration)
    np.testing.assert_allclose(fake, [0.5, 1 / (1 + np.exp(-2))])
    np.testing.assert_allclose(fake_probability([-1.0, 3.0], calibration, "real"), 1 - fake)


def test_a_model_without_a_frame_logit_is_not_measured_on_stills() -> None:
    spec = neutral_spec("inception-gru")
    outputs = (TensorSpec("features", (None, 2048)),)
    backbone = ScriptedBackend((TensorSpec("crops", (None, 3, 299, 299)),), outputs, lambda _: {})
    with pytest.raises(TrainingError, match="inception-gru has no frame logit: measure it on clips"):
        frame_logits(backbone, spec, FaceSet((), np.zeros((0, 224, 224, 3), np.uint8)))
