"""Platt scaling (Platt 1999): the temperature and bias under which logits become honest probabilities."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from engines.spec import Calibration

_EXTREME = 7.0
"""Of the temperature's logarithm: answers without a single error would have it run to 0."""


def fit_calibration(logits: NDArray[np.float64], labels: NDArray[np.int64], *, balanced: bool = True) -> Calibration:
    """Minimise the log loss of ``sigmoid((logit + bias) / temperature)``; (N,) each, 1 = fake.

    ``balanced`` weighs both classes alike, so that the prior of the measured set (more fakes than reals) does not
    leak into the scores of a camera.
    """
    x, y = torch.from_numpy(logits.astype(np.float64)), torch.from_numpy(labels.astype(np.float64))
    weight = torch.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean())) if balanced else torch.ones_like(y)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([log_temperature, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        scaled = (x + bias) / log_temperature.clamp(-_EXTREME, _EXTREME).exp()
        value = torch.nn.functional.binary_cross_entropy_with_logits(scaled, y, weight)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    temperature = float(log_temperature.detach().clamp(-_EXTREME, _EXTREME).exp())
    return Calibration(temperature=temperature, bias=float(bias.detach()))
