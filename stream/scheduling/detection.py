"""When a stream's next look for faces falls due."""

from __future__ import annotations


def phase_of(index: int) -> float:
    """Where in the period the ``index``-th stream looks, 0-1: van der Corput's sequence in base 2.

    However many streams there are, their phases lie evenly to within a factor of two: 0, 1/2, 1/4, 3/4, 1/8, …
    """
    phase, weight = 0.0, 0.5
    while index:
        index, bit = divmod(index, 2)
        phase += bit * weight
        weight /= 2
    return phase


def next_look_ns(last_ns: int, period_ns: int, phase: float) -> int:
    """The first moment of the stream's own grid after ``last_ns``: whole periods and its phase, on one clock for all.

    A grid, not a wait: a late look does not push back the ones after it, and phases never drift together.
    """
    shift = round(phase * period_ns)
    return ((last_ns - shift) // period_ns + 1) * period_ns + shift


def thinned_period_ns(period_ns: int, slot_ns: int, stride: int) -> int:
    """The period of a stream whose sampling is thinned out ``stride`` times: longer, but one look in every slot."""
    return max(period_ns, min(period_ns * stride, slot_ns))
