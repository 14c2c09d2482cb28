"""Overload: measured over seconds, borne rung by rung in order of priority, and taken back slowly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.scheduling.overload import BusyMeter, Overload, OverloadPolicy, ladder
from stream.scheduling.plan import Priority

MS, SECOND = 1_000_000, 1_000_000_000
LOW, NORMAL, HIGH = Priority
ALL = (LOW, NORMAL, HIGH)


class Thread:
    """A hand-wound analysis thread: ten steps a second, each busy for a share of its time."""

    def __init__(self, longest: int = 3, policy: OverloadPolicy | None = None) -> None:
        self.overload = Overload(policy or OverloadPolicy(), longest)
        self.now_ns = 0
        self.changes: list[int] = []

    def run(self, seconds: float, busy: float, present: tuple[Priority, ...] = ALL) -> int:
        for _ in range(round(seconds * 10)):
            self.overload.worked(self.now_ns, self.now_ns + round(busy * 100 * MS))
            self.now_ns += 100 * MS
            if self.overload.update(self.now_ns, present):
                self.changes.append(self.overload.level)
        return self.overload.level

    def strides(self, present: tuple[Priority, ...] = ALL) -> dict[Priority, int]:
        return {priority: self.overload.stride(priority, present) for priority in present}


@pytest.mark.parametrize("busy", [0.0, 0.25, 0.8, 1.0])
def test_the_meter_tells_the_share_of_the_last_seconds(busy: float) -> None:
    meter = BusyMeter(3 * SECOND)
    for step in range(50):
        meter.add(step * 100 * MS, step * 100 * MS + round(busy * 100 * MS))
    assert meter.share(5 * SECOND) == pytest.approx(busy, abs=0.001)
    assert meter.share(20 * SECOND) == 0


def test_the_ladder_takes_low_first_and_high_last_at_each_ratio() -> None:
    assert ladder(ALL, 3) == ((LOW, 2), (NORMAL, 2), (HIGH, 2), (LOW, 3), (NORMAL, 3), (HIGH, 3))
    assert ladder((HIGH, NORMAL), 2) == ((NORMAL, 2), (HIGH, 2))
    assert ladder(ALL, 1) == ()


def test_a_machine_that_keeps_up_thins_nothing_out() -> None:
    thread = Thread()
    assert thread.run(60, 0.85) == 0
    assert thread.strides() == dict.fromkeys(ALL, 1)


def test_a_short_peak_thins_nothing_out() -> None:
    thread = Thread()
    thread.run(10, 0.5)
    thread.run(1.5, 1.0)
    assert thread.run(10, 0.5) == 0


def test_overload_costs_the_least_important_streams_first() -> None:
    thread, seen = Thread(), []
    for _ in range(30):
        thread.run(1, 1.0)
        if not seen or thread.strides() != seen[-1]:
            seen.append(thread.strides())
    assert [tuple(strides.values()) for strides in seen] == [
        (1, 1, 1),
        (2, 1, 1),
        (2, 2, 1),
        (2, 2, 2),
        (3, 2, 2),
        (3, 3, 2),
        (3, 3, 3),
    ]


def test_streams_of_one_priority_are_thinned_out_at_once_and_alike() -> None:
    thread = Thread()
    assert thread.run(4, 1.0, (NORMAL,)) == 1
    assert thread.strides((NORMAL,)) == {NORMAL: 2}


def test_it_recovers_rung_by_rung_when_the_load_has_long_been_low() -> None:
    thread = Thread()
    assert thread.run(7, 1.0) == 2
    assert thread.run(9, 0.4) == 2
    assert thread.run(30, 0.4) == 0
    assert thread.changes == [1, 2, 1, 0]


@settings(deadline=None)
@given(work=st.floats(0.05, 5))
def test_a_steady_load_never_flaps(work: float) -> None:
    """Even when all of the work goes with the sampling: levels settle, and then stay."""
    thread = Thread()
    for _ in range(90):
        strides = thread.strides((NORMAL,))
        thread.run(1, min(1.0, work / strides[NORMAL]), (NORMAL,))
    assert len(thread.changes) <= 2
    assert thread.changes == sorted(thread.changes)


def test_it_recovers_at_once_when_the_load_is_clearly_low() -> None:
    thread = Thread()
    assert thread.run(4, 1.0) == 1
    assert thread.run(7, 0.25) == 0


def test_a_load_that_is_only_low_is_borne_for_longer() -> None:
    thread = Thread()
    thread.run(4, 1.0)
    assert thread.run(9, 0.4) == 1
    assert thread.run(4, 0.4) == 0


def test_a_burst_of_streams_thins_nothing_out() -> None:
    """Eight cameras that come one after the other keep the thread busy until the last has settled."""
    thread = Thread()
    for _ in range(8):
        thread.overload.arrived(thread.now_ns)
        thread.run(0.5, 1.0)
    thread.run(2.5, 1.0)
    assert thread.run(20, 0.6) == 0


def test_true_overload_shows_soon_after_the_last_stream_has_settled() -> None:
    thread = Thread()
    thread.overload.arrived(0)
    assert thread.run(5.7, 1.0) == 0
    assert thread.run(0.5, 1.0) == 1


def test_streams_that_never_cease_to_come_hide_no_overload() -> None:
    thread = Thread()
    for _ in range(13):
        thread.overload.arrived(thread.now_ns)
        thread.run(1, 1.0)
    assert thread.overload.level == 1


def test_a_level_without_its_streams_is_given_up() -> None:
    thread = Thread()
    assert thread.run(60, 1.0) == 6
    assert thread.run(0.1, 1.0, (HIGH,)) == 2
    assert thread.run(0.1, 1.0, ()) == 0


def test_a_limit_of_one_never_thins_out() -> None:
    assert Thread(policy=OverloadPolicy(busy_above=1.0, busy_below=0.5)).run(60, 1.0) == 0


@pytest.mark.parametrize(
    "limits",
    [
        {"busy_below": 0.5},
        {"busy_above": 0.0},
        {"window_s": 11.0},
        {"window_s": 0.0},
        {"clear_below": 0.46},
        {"settle_s": 11.0},
        {"settle_s": -1.0},
    ],
)
def test_limits_that_would_flap_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        OverloadPolicy(**limits)
