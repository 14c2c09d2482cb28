"""When a stream's next look for faces falls due, and when it may be left out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from stream.types import TrackedFace, TrackId

SLOW = 0.5
"""Sides of its own box a second: within a slot such a face moves by a tenth of its size, and the tracker foresees that.
Faces of somebody who talks to a camera stay below 0.3."""


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


def is_steady(
    tracks: Sequence[TrackedFace],
    found: int,
    before: Collection[TrackId],
    velocities: Mapping[TrackId, tuple[float, float]],
) -> bool:
    """Whether a look showed nothing that a look soon after could tell more of.

    The same faces as ``before``, all of them seen, all of them slow, and none of the ``found`` ones still doubted. An
    empty picture that was empty before is steady, too. ``velocities``: in pixels a second.
    """
    is_same = {track.track_id for track in tracks} == set(before) and found == len(tracks)
    return is_same and all(track.detected and _is_slow(track, velocities[track.track_id]) for track in tracks)


def _is_slow(track: TrackedFace, velocity: tuple[float, float]) -> bool:
    x1, y1, x2, y2 = track.face.xyxy
    return math.hypot(*velocity) <= SLOW * max(x2 - x1, y2 - y1)


def longest_rest_ns(period_ns: int, slot_ns: int) -> int:
    """For how long a steady picture is not looked at: about a slot, told on a grid of ``period_ns``."""
    return max(0, slot_ns - period_ns // 2)
