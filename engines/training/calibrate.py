"""Platt scaling (Platt 1999): the temperature and bias under which logits become honest probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from engines.postprocess import sigmoid
from engines.spec import Calibration

_LOG_TEMPERATURES = (-7.0, 7.0)
"""Where the search stays: classes that a threshold separates would have a temperature of 0."""


def fit_calibration(logits: NDArray[np.float64], labels: NDArray[np.int64], *, balanced: bool = True) -> Calibration:
    """Minimise the log loss of ``sigmoid((logit + bias) / temperature)``; (N,) each, 1 = fake.

    ``balanced`` weighs both classes alike, so that the prior of the measured set (more fakes than reals) does not
    leak into the scores of a camera.
    """
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    weight = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean())) if balanced else np.ones_like(y)

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """And its gradient by (log temperature, bias)."""
        slope = np.exp(-at[0])
        scaled = (x + at[1]) * slope
        pull = weight * (sigmoid(scaled) - y)
        value = (weight * (np.logaddexp(0, scaled) - y * scaled)).mean()
        return float(value), np.array([-(pull * scaled).mean(), pull.mean() * slope])

    bounds = [_LOG_TEMPERATURES, (None, None)]
    options = {"maxiter": 500, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return Calibration(temperature=float(np.exp(found.x[0])), bias=float(found.x[1]))
