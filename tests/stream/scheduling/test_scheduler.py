"""All scheduling behind one object: files are served whole, live streams share."""

from __future__ import annotations

import pytest

from engines.spec import WindowSpec
from stream.scheduling.overload import OverloadPolicy
from stream.scheduling.plan import Limits, Priority, StreamPlan
from stream.scheduling.sampling import SkipReason
from stream.scheduling.scheduler import Moment, OpenSlot, Scheduler, SchedulingPolicy
from stream.types import StreamName, TrackId

MS, SECOND = 1_000_000, 1_000_000_000
WINDOW = WindowSpec(slots=20, period_s=0.2, min_samples=5, feature_dim=4)
FILE, DOOR, YARD, CROWD = (StreamName(name) for name in ("file", "door", "yard", "crowd"))
LIVE = StreamPlan(is_live=True)


def scheduler_of(plans: dict[StreamName, StreamPlan], limits: Limits | None = None) -> Scheduler:
    policy = SchedulingPolicy(limits or Limits(), overload=OverloadPolicy(settle_s=0.0))
    scheduler = Scheduler(WINDOW, 100 * MS, policy)
    for name, plan in plans.items():
        scheduler.join(name, plan)
    return scheduler


def overloaded(scheduler: Scheduler, name: StreamName, seconds: int) -> None:
    for second in range(seconds):
        scheduler.worked([name], second * SECOND, (second + 1) * SECOND)
        scheduler.update_load((second + 1) * SECOND)


def faces(count: int) -> tuple[TrackId, ...]:
    return tuple(TrackId(number) for number in range(count))


def test_a_file_goes_by_its_own_time_and_a_camera_by_the_clock_of_all() -> None:
    scheduler = scheduler_of({FILE: StreamPlan(), DOOR: LIVE, YARD: LIVE})
    last = Moment(pts_ns=0, arrived_ns=1000 * MS)
    assert scheduler.is_look_due(FILE, last, Moment(100 * MS, 1001 * MS))
    assert not scheduler.is_look_due(FILE, last, Moment(99 * MS, 9000 * MS))
    assert scheduler.next_look_ns(DOOR, last) == 1100 * MS
    assert scheduler.next_look_ns(YARD, last) == 1050 * MS


def test_a_stream_has_its_own_rate_of_looks() -> None:
    scheduler = scheduler_of({DOOR: StreamPlan(is_live=True, detect_period_ns=500 * MS)})
    assert scheduler.next_look_ns(DOOR, Moment(0, 1000 * MS)) == 1500 * MS


def test_a_place_that_is_left_is_taken_again() -> None:
    scheduler = scheduler_of({DOOR: LIVE, YARD: LIVE})
    scheduler.leave(DOOR)
    scheduler.join(CROWD, LIVE)
    assert scheduler.next_look_ns(CROWD, Moment(0, 1000 * MS)) == 1100 * MS


def test_looks_go_round_and_files_always_have_theirs() -> None:
    scheduler = scheduler_of({FILE: StreamPlan(), DOOR: LIVE, YARD: LIVE, CROWD: LIVE}, Limits(max_detections=2))
    names = [FILE, DOOR, YARD, CROWD]
    rounds = [scheduler.looks_in_turn(names) for _ in range(3)]
    assert all(FILE in taken and len(taken) == 3 for taken in rounds)
    assert {name: sum(name in taken for taken in rounds) for name in names[1:]} == {DOOR: 2, YARD: 2, CROWD: 2}


def test_a_crowd_leaves_the_others_their_samples_and_a_file_is_never_cut() -> None:
    scheduler = scheduler_of({FILE: StreamPlan(), DOOR: LIVE, CROWD: LIVE}, Limits(max_batch=4))
    wanted = {FILE: faces(20), CROWD: faces(30), DOOR: faces(1)}
    taken = scheduler.in_turn(wanted, dict.fromkeys(wanted, 0))
    assert {name: len(ids) for name, ids in taken.items()} == {FILE: 20, CROWD: 3, DOOR: 1}


def test_all_faces_of_a_crowd_are_sampled_in_turn_and_what_is_missed_is_told() -> None:
    scheduler, skipped = scheduler_of({CROWD: LIVE}, Limits(max_batch=10)), list[SkipReason]()
    served = dict.fromkeys(faces(30), 0)
    for step in range(12):
        pts_ns = step * 200 * MS
        slots = [OpenSlot(track_id, step, 1) for track_id in served]
        wanted = scheduler.wanted(CROWD, slots, pts_ns, lambda _, reason: skipped.append(reason))
        for track_id in scheduler.in_turn({CROWD: wanted}, {CROWD: pts_ns})[CROWD]:
            served[track_id] += 1
    assert set(served.values()) == {4}
    assert skipped == [SkipReason.BATCH] * 20 * 11


def test_overload_thins_out_live_streams_by_priority_and_never_a_file() -> None:
    plans = {FILE: StreamPlan(), DOOR: StreamPlan(True, Priority.HIGH), YARD: StreamPlan(True, Priority.LOW)}
    scheduler = scheduler_of(plans)
    overloaded(scheduler, DOOR, 4)
    assert (scheduler.level, [scheduler.stride_of(name) for name in plans]) == (1, [1, 1, 2])
    assert [scheduler.thinned_to(name) for name in plans] == [1, 1, 2]
    assert scheduler.next_look_ns(YARD, Moment(0, 1000 * MS)) == 1100 * MS  # 200 ms, half of it its phase


def test_a_file_takes_what_time_there_is_and_is_no_overload() -> None:
    scheduler = scheduler_of({FILE: StreamPlan(), DOOR: LIVE})
    overloaded(scheduler, FILE, 60)
    assert scheduler.level == 0


@pytest.mark.parametrize(
    ("every", "level", "stride", "thinned"), [(1, 0, 1, 1), (2, 0, 2, 1), (2, 1, 3, 3), (3, 1, 3, 1)]
)
def test_a_stream_is_called_thinned_only_by_what_overload_adds(
    every: int, level: int, stride: int, thinned: int
) -> None:
    scheduler = scheduler_of({DOOR: StreamPlan(True, sample_every=every)})
    overloaded(scheduler, DOOR, 4 * level)
    assert (scheduler.stride_of(DOOR), scheduler.thinned_to(DOOR)) == (stride, thinned)


def test_cameras_that_come_one_by_one_are_no_overload_until_they_have_settled() -> None:
    scheduler = Scheduler(WINDOW, 100 * MS)
    for number in range(6):
        name = StreamName(f"camera-{number}")
        scheduler.join(name, LIVE)
        scheduler.worked([name], number * SECOND, (number + 1) * SECOND)
        scheduler.update_load((number + 1) * SECOND)
    assert scheduler.level == 0
    for second in range(6, 12):
        scheduler.worked([StreamName("camera-0")], second * SECOND, (second + 1) * SECOND)
        scheduler.update_load((second + 1) * SECOND)
    assert scheduler.level == 1


@pytest.mark.parametrize(
    ("plan", "steps", "after_ms", "rests"),
    [
        (LIVE, (), 100, True),
        (LIVE, (), 160, False),
        (LIVE, (1,), 100, False),
        (StreamPlan(True, sample_every=2), (1,), 100, True),
        (StreamPlan(True, sample_every=2), (1, 2), 100, False),
        (StreamPlan(True, sample_every=2), (1,), 200, False),
        (StreamPlan(True, detect_period_ns=200 * MS), (), 200, False),
        (StreamPlan(True, detect_period_ns=500 * MS), (), 500, False),
        (StreamPlan(), (), 100, False),
    ],
    ids=str,
)
def test_a_look_is_left_out_when_no_face_wants_a_sample_and_the_last_is_not_long_ago(
    plan: StreamPlan, steps: tuple[int, ...], after_ms: int, rests: bool
) -> None:
    scheduler = scheduler_of({DOOR: plan})
    slots = [OpenSlot(TrackId(number), 7, step) for number, step in enumerate(steps)]
    last, now = Moment(0, 1000 * MS), Moment(after_ms * MS, (1000 + after_ms) * MS)
    assert scheduler.may_rest(DOOR, slots, last, now) is rests
