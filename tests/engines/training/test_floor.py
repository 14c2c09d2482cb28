"""The baseline without a network: it finds shortcuts, and only those."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engines.training.floor import FEATURES, floor_scores, picture_features
from engines.training.metrics import roc_auc


def noisy_features(count: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=(count, len(FEATURES)))


def sources_of(count: int) -> list[str]:
    return [str(row // 2) for row in range(count)]


def test_a_file_size_that_gives_fakes_away_is_found() -> None:
    labels, features = np.arange(600) % 2, noisy_features(600)
    features[:, 0] += 1.5 * labels
    assert roc_auc(labels, floor_scores(features, labels, sources_of(600))) > 0.8


def test_a_middle_that_gives_fakes_away_is_found() -> None:
    features = noisy_features(900)
    labels = (np.abs(features[:, 1]) < 0.7).astype(np.int64)
    assert roc_auc(labels, floor_scores(features, labels, sources_of(900))) > 0.9


def test_features_of_nothing_stay_near_chance_as_no_source_judges_itself() -> None:
    """Twins by source with one label each: whoever saw one twin would know the other."""
    labels = np.repeat(np.random.default_rng(1).integers(0, 2, 400), 2)
    features = np.repeat(noisy_features(400), 2, axis=0)
    assert roc_auc(labels, floor_scores(features, labels, sources_of(800))) == pytest.approx(0.5, abs=0.08)


def test_every_feature_is_a_number_and_sees_what_it_is_named_for() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    soft = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 3), np.uint8)
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 250
    found = {
        name: dict(zip(FEATURES, picture_features(rgb, size), strict=True))
        for name, rgb, size in (("sharp", sharp, 9000), ("soft", soft, 900), ("red", red, 90))
    }
    assert all(np.isfinite(list(values.values())).all() for values in found.values())
    for name in ("file size", "sharpness", "contrast", "noise", "edges"):
        assert found["sharp"][name] > found["soft"][name] > found["red"][name] or name == "noise"
    assert found["red"]["red"] > 200 > found["red"]["blue"]
    assert found["red"]["saturation"] == 250
