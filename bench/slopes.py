"""Whether a measure grows with time, beyond what chance alone could make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.runtime.ports import Array


@dataclass(frozen=True)
class Slope:
    """How one measure changes, with what chance alone could make of it."""

    name: str
    per_hour: float
    noise_per_hour: float
    """Twice the standard error, neighbouring samples taken as alike as they are."""
    spread: float
    """Standard deviation of the samples."""
    level: float
    """Mean of the samples."""
    allowed_per_hour: float

    @property
    def grows(self) -> bool:
        return self.per_hour - self.noise_per_hour > self.allowed_per_hour


def slope_of(name: str, at_s: Sequence[float], values: Sequence[float], allowed_per_hour: float) -> Slope:
    """Least squares; the error counts only independent samples, by the residuals' lag-1 autocorrelation."""
    known = [(at, value) for at, value in zip(at_s, values, strict=True) if np.isfinite(value)]
    if len(known) < 3:
        return Slope(name, 0.0, float("inf"), 0.0, float("nan"), allowed_per_hour)
    hours, samples = np.array([at / 3600 for at, _ in known]), np.array([value for _, value in known])
    rise, start = np.polyfit(hours, samples, 1)
    error = _standard_error(hours, samples - (rise * hours + start))
    return Slope(name, float(rise), 2 * error, float(samples.std()), float(samples.mean()), allowed_per_hour)


def _standard_error(hours: Array, residuals: Array) -> float:
    alike = np.corrcoef(residuals[:-1], residuals[1:])[0, 1] if residuals.std() > 0 else 0.0
    share = max(0.01, (1 - alike) / (1 + alike))
    count = max(3.0, len(hours) * share)
    return float(residuals.std() / (hours.std() * np.sqrt(count - 2)))
