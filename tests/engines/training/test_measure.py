"""Calibration and the numbers of a spec."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.export.package import neutral_spec
from engines.models.gru_head import WINDOW_SLOTS, GruHead, mean_logit_head
from engines.postprocess import calibrated_probability, fake_probability
from engines.training.calibrate import fit_calibration
from engines.training.measure import Stills, calibrated_spec, calibration_errors, pairwise_half
from engines.training.windows import ClipFeatures

FEATURES = 6


def answers(
    count: int, temperature: float, bias: float, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits whose true probability is sigmoid((logit + bias) / temperature), and outcomes drawn from it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, count) - bias
    probabilities = 1 / (1 + np.exp(-(logits + bias) / temperature))
    return logits, (rng.random(count) < probabilities).astype(np.int64)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.5, 4), st.floats(-2, 2))
def test_a_known_miscalibration_is_recovered(temperature: float, bias: float) -> None:
    found = fit_calibration(*answers(20_000, temperature, bias), balanced=False)
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert found.bias == pytest.approx(bias, abs=0.2)


def test_a_set_with_more_fakes_does_not_make_faces_more_suspect() -> None:
    logits, labels = answers(8000, 1.5, 0.4)
    keep = (labels == 1) | (np.arange(len(labels)) % 4 == 0)
    even, skewed = fit_calibration(logits, labels), fit_calibration(logits[keep], labels[keep])
    assert calibrated_probability(0.0, even) == pytest.approx(calibrated_probability(0.0, skewed), abs=0.03)


def test_answers_without_an_error_still_have_a_temperature() -> None:
    labels = np.tile([0, 1], 20).astype(np.int64)
    found = fit_calibration((labels - 0.5) * 0.1 + 0.1, labels)  # left alone, this one's runs to 0
    assert 0 < found.temperature < 0.01
    assert np.isfinite(found.bias)


def still_answers(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Stills:
    """A real and its fake of each source."""
    return Stills(logits, labels, tuple(str(row // 2) for row in range(len(labels))))


def test_where_a_high_logit_means_real_the_numbers_are_of_fakes_all_the_same() -> None:
    torch.manual_seed(0)
    rng, labels = np.random.default_rng(0), np.tile([0, 1], 30).astype(np.int64)
    features = (rng.standard_normal((60, WINDOW_SLOTS, FEATURES)) - labels[:, None, None]).astype(np.float32)
    clips = ClipFeatures(features, features.mean(2), np.tile(np.arange(WINDOW_SLOTS), (60, 1)), labels)
    mean = torch.nn.Linear(FEATURES, 1)
    torch.nn.init.constant_(mean.weight, 1 / FEATURES)
    says_real = neutral_spec("tiny", 32, of="meso4")
    spec = calibrated_spec(says_real, mean_logit_head(mean), clips, still_answers(features.mean((1, 2)), labels))
    assert min(spec.measured[name] for name in ("val_window_auc", "val_frame_auc", "val_window_mean_logit_auc")) > 0.9
    probabilities = fake_probability(features.mean((1, 2)), spec.calibration, "real")
    assert probabilities[labels == 1].mean() > 0.7 > 0.3 > probabilities[labels == 0].mean()


def test_calibration_lowers_the_error_on_items_it_was_not_fitted_on() -> None:
    logits, labels = answers(6000, 4.0, 1.0)
    errors = calibration_errors("x", logits, labels, pairwise_half(len(labels)))
    assert errors["x_ece"] < errors["x_ece_before"] / 2


def test_a_spec_gains_both_calibrations_and_every_number() -> None:
    torch.manual_seed(0)
    rng, labels = np.random.default_rng(0), np.tile([0, 1], 30).astype(np.int64)
    features = (rng.standard_normal((60, WINDOW_SLOTS, FEATURES)) + labels[:, None, None]).astype(np.float32)
    slots = np.tile(np.arange(WINDOW_SLOTS), (60, 1))
    clips = ClipFeatures(features, features.mean(2), slots, labels)
    stills = rng.standard_normal(60) + labels
    spec = calibrated_spec(neutral_spec("tiny", 32), GruHead(FEATURES).eval(), clips, still_answers(stills, labels))
    wanted = {"val_frame_auc", "val_frame_eer", "val_frame_ece", "val_window_auc", "val_window_mean_logit_auc"}
    assert wanted <= set(spec.measured)
    assert spec.calibration != neutral_spec("tiny", 32).calibration
    assert spec.frame_calibration != spec.calibration
    assert spec.measured["val_window_mean_logit_auc"] > 0.9
