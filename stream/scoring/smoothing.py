"""Exponential smoothing in media time: pure, and the same at every frame rate."""

from __future__ import annotations

import math

SUREST = 1e-6
"""A probability is taken as at least this far from 0 and 1: one saturated window must not outweigh all that follow."""


def smoothed(before: float, value: float, elapsed_s: float, time_constant_s: float) -> float:
    """``before`` drawn towards ``value``, which held for ``elapsed_s``; a time constant of 0 smooths nothing.

    The step response is 1 - exp(-t / time constant), and two steps make one of their summed length.
    """
    if time_constant_s <= 0:
        return value
    return value + (before - value) * math.exp(-max(elapsed_s, 0.0) / time_constant_s)


def logit_from_probability(probability: float) -> float:
    """The logit of a probability, within ± 13.8."""
    clipped = min(max(probability, SUREST), 1 - SUREST)
    return math.log(clipped / (1 - clipped))


def probability_from_logit(logit: float) -> float:
    """The logistic function, for any finite logit."""
    return 0.5 * (1 + math.tanh(0.5 * logit))
