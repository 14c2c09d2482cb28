"""The soak's arithmetic, and a short soak for real."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stream.sources.video_parts import need_gst

need_gst()

from bench.slopes import slope_of  # noqa: E402
from bench.soak import FAULTS, Sample, SoakOrder, slopes, soak  # noqa: E402

SECONDS = [float(second) for second in range(600)]


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, len(SECONDS))


@pytest.mark.parametrize("seed", range(10))
def test_noise_does_not_grow_and_a_leak_does(seed: int) -> None:
    flat = slope_of("x", SECONDS, 100 + noise(seed), allowed_per_hour=5.0)
    leak = slope_of("x", SECONDS, 100 + noise(seed) + np.array(SECONDS) / 60, allowed_per_hour=5.0)
    assert not flat.grows
    assert leak.grows
    assert leak.per_hour == pytest.approx(60, abs=10)


def test_samples_that_are_alike_count_as_few() -> None:
    wandering = np.cumsum(noise(1)) / 10
    assert (
        slope_of("x", SECONDS, wandering, 0.0).noise_per_hour > 5 * slope_of("x", SECONDS, noise(1), 0.0).noise_per_hour
    )


def test_what_falls_or_is_not_known_does_not_grow() -> None:
    assert not slope_of("x", SECONDS, [-value for value in SECONDS], 0.0).grows
    assert not slope_of("x", SECONDS, [float("nan")] * len(SECONDS), 0.0).grows


def test_a_constant_has_no_slope_and_no_noise() -> None:
    told = slope_of("x", SECONDS, [7.0] * len(SECONDS), 0.0)
    assert (round(told.per_hour, 6), round(told.noise_per_hour, 6), told.grows) == (0.0, 0.0, False)


def test_the_warm_up_is_left_out() -> None:
    samples = [Sample(at, 50 + min(at, 100.0), 20, 300, 9, 9, 2.0) for at in SECONDS]
    assert not any(slope.grows for slope in slopes(samples))


def test_a_short_soak_is_survived_by_every_stream() -> None:
    """Too short for slopes: pools and caches are still warming up."""
    soaked = soak(SoakOrder(seed=7, minutes=0.4, is_in_use=True))
    assert set(soaked.visits) > {"metrics", "events"}
    assert sum(soaked.visits.values()) >= 5
    assert soaked.visits["stream removed and added"] > 0
    assert soaked.missing == ()
    assert soaked.losses > 0
    assert soaked.scored > 0
    assert set(soaked.faults) == set(FAULTS)
    assert sum(soaked.faults.values()) >= 5
