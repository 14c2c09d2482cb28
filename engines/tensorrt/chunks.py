"""How a batch of any size is cut into runs that an engine's profiles take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engines.errors import InferenceError
from engines.tensorrt.plan import Profile


@dataclass(frozen=True)
class Chunk:
    """Rows that one run takes."""

    start: int
    rows: int
    profile: int
    """Number of the engine's profile."""


def chunks_of(batch: int, profiles: tuple[Profile, ...]) -> tuple[Chunk, ...]:
    """Full runs and a rest, or runs of about one size where the rest is too small. Raises InferenceError."""
    largest = max(profile[2] for profile in profiles)
    full, rest = divmod(batch, largest)
    sizes = [largest] * full + ([rest] if rest else [])
    if any(profile_for(size, profiles) is None for size in sizes):
        count = math.ceil(batch / largest)
        sizes = [batch // count + (number < batch % count) for number in range(count)]
    return tuple(_chunk(sum(sizes[:number]), size, profiles) for number, size in enumerate(sizes))


def profile_for(rows: int, profiles: tuple[Profile, ...]) -> int | None:
    """The profile that takes so many rows and is best at the nearest number of them."""
    fitting = [number for number, (low, _, high) in enumerate(profiles) if low <= rows <= high]
    return min(fitting, key=lambda number: abs(profiles[number][1] - rows), default=None)


def _chunk(start: int, rows: int, profiles: tuple[Profile, ...]) -> Chunk:
    profile = profile_for(rows, profiles)
    if profile is None:
        taken = ", ".join(f"{low}-{high}" for low, _, high in profiles)
        raise InferenceError(f"{rows} rows are outside the engine's profiles ({taken}): build it with that --batch")
    return Chunk(start, rows, profile)
