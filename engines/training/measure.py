"""Calibration and the numbers a spec carries, from held-out stills and pseudo-clips.

Calibrations are fitted on one half of the val split and judged on the other half; what ships is fitted on all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.checkpoints.networks import Head
from engines.models.gru_head import WINDOW_SLOTS
from engines.postprocess import calibrated_probability
from engines.spec import Calibration, ModelSpec
from engines.training.calibrate import fit_calibration
from engines.training.degrade import Rng
from engines.training.evaluate import half_of
from engines.training.head import MIN_SAMPLES, head_logits, windows_of
from engines.training.metrics import equal_error_rate, expected_calibration_error, hit_rate_at, roc_auc
from engines.training.windows import ClipFeatures, Floats, draw_masks, fill_slots, mean_logits

Logits = NDArray[np.float64]
Labels = NDArray[np.int64]
_MASK_SEED = 7


@dataclass(frozen=True, repr=False)
class Stills:
    """Single frames: what the frame head said of each, and what they are."""

    logits: Logits
    labels: Labels
    """1 = fake, whatever a high logit means."""
    sources: tuple[str, ...]
    """Of each: a real and its fakes are fitted on, or judged, together."""


def calibrated_spec(spec: ModelSpec, head: Head, clips: ClipFeatures, stills: Stills | None) -> ModelSpec:
    """The spec with its calibrations and every measured number; without ``stills``, none of single frames."""
    rng = np.random.default_rng(_MASK_SEED)
    filled = fill_slots(rng, clips, WINDOW_SLOTS)
    whole, gappy = window_masks(rng, len(clips))
    windows = windows_of(clips.features, filled)
    complete, masked = head_logits(head, windows, whole), head_logits(head, windows, gappy)
    says, is_positive = _towards_fake(spec), _positive(spec, clips.labels)
    numbers = {
        **ranking("val_window", says * complete, clips.labels),
        **ranking("val_window_masked", says * masked, clips.labels),
        **calibration_errors("val_window", masked, is_positive, pairwise_half(len(clips))),
    }
    if stills is not None:
        means = {"val_window_mean_logit_auc": whole, "val_window_masked_mean_logit_auc": gappy}
        numbers |= _means(clips, filled, means, says) | _of_stills(spec, stills)
    fitted = {"calibration": fit_calibration(masked, is_positive)}
    if stills is not None:
        fitted["frame_calibration"] = fit_calibration(stills.logits, _positive(spec, stills.labels), balanced=False)
    rounded = {name: round(value, 4) for name, value in numbers.items()}
    return spec.model_copy(update={**fitted, "measured": spec.measured | rounded})


def track_numbers(spec: ModelSpec, head: Head, clips: ClipFeatures) -> dict[str, float]:
    """How well whole windows of real tracks are told apart, and by the mean of their frame logits."""
    filled = fill_slots(np.random.default_rng(_MASK_SEED), clips, WINDOW_SLOTS)
    whole, says = np.ones((len(clips), WINDOW_SLOTS), np.float32), _towards_fake(spec)
    logits = says * head_logits(head, windows_of(clips.features, filled), whole)
    numbers = ranking("val_track", logits, clips.labels)
    numbers |= _means(clips, filled, {"val_track_mean_logit_auc": whole}, says)
    return {name: round(value, 4) for name, value in numbers.items()}


def window_masks(rng: Rng, count: int) -> tuple[Floats, Floats]:
    """(N, T) without gaps, and with the gaps of training."""
    return np.ones((count, WINDOW_SLOTS), np.float32), draw_masks(rng, count, WINDOW_SLOTS, MIN_SAMPLES)


def ranking(name: str, logits: Logits, labels: Labels) -> dict[str, float]:
    """AUC, EER and the hit rate at one false alarm in a hundred."""
    return {
        f"{name}_auc": roc_auc(labels, logits),
        f"{name}_eer": equal_error_rate(labels, logits),
        f"{name}_tpr_at_fpr_1": hit_rate_at(labels, logits, 0.01),
    }


def pairwise_half(count: int) -> NDArray[np.bool_]:
    """(N,) half of pseudo-clips, which come two by two: a real and its fake stay together."""
    return np.asarray(np.arange(count) // 2 % 2 == 0, np.bool_)


def calibration_errors(
    name: str, logits: Logits, labels: Labels, fitting: NDArray[np.bool_], *, balanced: bool = True
) -> dict[str, float]:
    """ECE of the items not in ``fitting``, before and after calibration on those in it.

    ``balanced`` weighs classes alike.
    """
    fitted = fit_calibration(logits[fitting], labels[fitting], balanced=balanced)
    judged, truth = logits[~fitting], labels[~fitting]
    before, after = (_ece(judged, truth, how, balanced=balanced) for how in (Calibration(temperature=1.0), fitted))
    return {f"{name}_ece_before": before, f"{name}_ece": after}


def _of_stills(spec: ModelSpec, stills: Stills) -> dict[str, float]:
    """The set's own share of fakes is kept, as in every published number on such stills."""
    numbers = ranking("val_frame", _towards_fake(spec) * stills.logits, stills.labels)
    return numbers | calibration_errors(
        "val_frame", stills.logits, _positive(spec, stills.labels), half_of(stills.sources), balanced=False
    )


def _towards_fake(spec: ModelSpec) -> int:
    """1 where a high logit means fake, -1 where it means real."""
    return 1 if spec.positive_class == "fake" else -1


def _positive(spec: ModelSpec, labels: Labels) -> Labels:
    """(N,) 1 = what a high logit means."""
    return labels if spec.positive_class == "fake" else 1 - labels


def _means(clips: ClipFeatures, filled: NDArray[np.int64], masks: dict[str, Floats], says: int) -> dict[str, float]:
    return {name: roc_auc(clips.labels, says * mean_logits(clips, filled, mask)) for name, mask in masks.items()}


def _ece(logits: Logits, labels: Labels, calibration: Calibration, *, balanced: bool) -> float:
    return expected_calibration_error(labels, calibrated_probability(logits, calibration), balanced=balanced)
