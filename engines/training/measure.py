"""Calibration and the numbers a spec carries, from held-out stills and pseudo-clips.

Calibrations are fitted on one half of the val split and judged on the other half; what ships is fitted on all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.models.gru_head import WINDOW_SLOTS, GruHead
from engines.postprocess import calibrated_probability
from engines.spec import Calibration, ModelSpec
from engines.training.calibrate import fit_calibration
from engines.training.head import MIN_SAMPLES, head_logits, windows_of
from engines.training.metrics import equal_error_rate, expected_calibration_error, hit_rate_at, roc_auc
from engines.training.windows import ClipFeatures, Floats, draw_masks, fill_slots, mean_logits

Logits = NDArray[np.float64]
Labels = NDArray[np.int64]
_MASK_SEED = 7


def calibrated_spec(
    spec: ModelSpec, head: GruHead, clips: ClipFeatures, stills: Logits, still_labels: Labels
) -> ModelSpec:
    """The spec with both calibrations and every measured number."""
    rng = np.random.default_rng(_MASK_SEED)
    filled = fill_slots(rng, clips, WINDOW_SLOTS)
    windows, whole = windows_of(clips.features, filled), np.ones((len(clips), WINDOW_SLOTS), np.float32)
    gappy = draw_masks(rng, len(clips), WINDOW_SLOTS, MIN_SAMPLES)
    complete, masked = head_logits(head, windows, whole), head_logits(head, windows, gappy)
    numbers = {
        **ranking("val_frame", stills, still_labels),
        **ranking("val_window", complete, clips.labels),
        **ranking("val_window_masked", masked, clips.labels),
        **_means(clips, filled, {"val_window_mean_logit_auc": whole, "val_window_masked_mean_logit_auc": gappy}),
        **calibration_errors("val_frame", stills, still_labels),
        **calibration_errors("val_window", masked, clips.labels),
    }
    return spec.model_copy(
        update={
            "calibration": fit_calibration(masked, clips.labels),
            "frame_calibration": fit_calibration(stills, still_labels),
            "measured": spec.measured | {name: round(value, 4) for name, value in numbers.items()},
        }
    )


def ranking(name: str, logits: Logits, labels: Labels) -> dict[str, float]:
    """AUC, EER and the hit rate at one false alarm in a hundred."""
    return {
        f"{name}_auc": roc_auc(labels, logits),
        f"{name}_eer": equal_error_rate(labels, logits),
        f"{name}_tpr_at_fpr_1": hit_rate_at(labels, logits, 0.01),
    }


def calibration_errors(name: str, logits: Logits, labels: Labels) -> dict[str, float]:
    """Class-balanced ECE on one half of the items, before and after calibration on the other."""
    fitting = np.arange(len(labels)) // 2 % 2 == 0  # two by two: a real and its fake stay together
    fitted = fit_calibration(logits[fitting], labels[fitting])
    before, after = (_ece(logits[~fitting], labels[~fitting], how) for how in (Calibration(temperature=1.0), fitted))
    return {f"{name}_ece_before": before, f"{name}_ece": after}


def _means(clips: ClipFeatures, filled: NDArray[np.int64], masks: dict[str, Floats]) -> dict[str, float]:
    return {name: roc_auc(clips.labels, mean_logits(clips, filled, mask)) for name, mask in masks.items()}


def _ece(logits: Logits, labels: Labels, calibration: Calibration) -> float:
    return expected_calibration_error(labels, calibrated_probability(logits, calibration), balanced=True)
