"""The batching window: bounded, and not a moment longer than somebody is missing."""

from __future__ import annotations

import pytest

from stream.scheduling.gather import BatchWindow

MS = 1_000_000


@pytest.mark.parametrize(
    ("now_ms", "missing", "left_s"), [(100, 3, 0.005), (103, 1, 0.002), (103, 0, 0.0), (105, 1, 0.0), (900, 2, 0.0)]
)
def test_it_waits_for_those_that_are_missing_until_its_end(now_ms: int, missing: int, left_s: float) -> None:
    assert BatchWindow(100 * MS, 5 * MS).left_s(now_ms * MS, missing) == left_s
