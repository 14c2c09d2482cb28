"""All scheduling behind one object: the runner asks whom to look at and when, the pipeline which faces to sample."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from engines.spec import WindowSpec
from stream.scheduling.detection import longest_rest_ns, next_look_ns, phase_of, thinned_period_ns
from stream.scheduling.gather import BatchWindow
from stream.scheduling.overload import Overload, OverloadPolicy
from stream.scheduling.plan import CalmPolicy, Limits, Priority, StreamPlan, longest_stride
from stream.scheduling.sampling import FaceSampler, SkipReason
from stream.scheduling.turns import Turns
from stream.types import FaceScore, StreamName, TrackId

OnSkipped = Callable[[StreamName, SkipReason], None]


@dataclass(frozen=True)
class Moment:
    """One frame on both of its clocks."""

    pts_ns: int
    arrived_ns: int


@dataclass(frozen=True)
class OpenSlot:
    """A face in view whose current slot is empty."""

    track_id: TrackId
    slot: int
    """Number of the slot, in its own window's count."""
    steps: int | None
    """Slots since the newest sample; None in an empty window."""


@dataclass(frozen=True)
class SchedulingPolicy:
    """Everything that all streams share."""

    limits: Limits = field(default_factory=Limits)
    calm: CalmPolicy = field(default_factory=CalmPolicy)
    overload: OverloadPolicy = field(default_factory=OverloadPolicy)
    batch_window_ns: int = 0
    """How long the first due frame waits for those of other streams."""


@dataclass
class _Place:
    plan: StreamPlan
    index: int
    sampler: FaceSampler
    has_come: bool = False
    """A step was worked on it."""


class Scheduler:
    """Used by one thread. A stream is known from the first call that names it until ``leave``."""

    def __init__(self, window: WindowSpec, detect_period_ns: int, policy: SchedulingPolicy | None = None) -> None:
        self._window, self._detect_period_ns, self._policy = window, detect_period_ns, policy or SchedulingPolicy()
        self._places: dict[StreamName, _Place] = {}
        self._crops: Turns[StreamName] = Turns()
        self._looks: Turns[StreamName] = Turns()
        self._overload = Overload(self._policy.overload, longest_stride(window))

    def join(self, name: StreamName, plan: StreamPlan) -> None:
        """Give a stream its place; a known one keeps it. The lowest free place, so that phases stay even."""
        if name not in self._places:
            taken = {place.index for place in self._places.values() if place.plan.is_live}
            index = next(index for index in range(len(taken) + 1) if index not in taken)
            self._places[name] = _Place(plan, index, FaceSampler(plan, self._window, self._policy.calm))

    def leave(self, name: StreamName) -> None:
        """Its place is free again."""
        self._places.pop(name, None)
        self._crops.forget(name)
        self._looks.forget(name)

    def begin_segment(self, name: StreamName) -> None:
        """Its windows start afresh."""
        self._places[name].sampler.begin_segment()

    # Looks for faces

    def is_look_due(self, name: StreamName, last: Moment, now: Moment) -> bool:
        """A file by its own media time alone; live streams each on their phase of one grid of arrival time."""
        if not self._places[name].plan.is_live:
            return now.pts_ns - last.pts_ns >= self._period_ns(name)
        return now.arrived_ns >= self.next_look_ns(name, last)

    def may_rest(self, name: StreamName, slots: Sequence[OpenSlot], last: Moment, now: Moment) -> bool:
        """Whether a due look at a steady live picture is left out: it would bring no sample, and one was just now.

        ``slots``: the open ones of the faces in view. Files are looked at as often as ever, so that their scores stay.
        """
        place = self._places[name]
        if not place.plan.is_live or now.arrived_ns - last.arrived_ns >= self._longest_rest_ns(name):
            return False
        overload = self.overload_stride(name)
        strides = ((place.sampler.stride(slot.track_id, now.pts_ns, overload), slot.steps) for slot in slots)
        return all(stride.skips(steps) is not None for stride, steps in strides)

    def next_look_ns(self, name: StreamName, last: Moment) -> int:
        """When a live stream's next frame will be due, in monotonic time."""
        return next_look_ns(last.arrived_ns, self._period_ns(name), phase_of(self._places[name].index))

    def batch_window(self, now_ns: int) -> BatchWindow:
        return BatchWindow(now_ns, self._policy.batch_window_ns)

    def looks_in_turn(self, names: Sequence[StreamName]) -> set[StreamName]:
        """Whose due frame is searched in this round: all files, and as many live streams as the limit allows."""
        live = {name: (name,) for name in names if self._places[name].plan.is_live}
        taken = self._looks.take(live, self._weights(live), self._policy.limits.max_detections)
        return {name for name in names if name not in live or taken[name]}

    # Samples of faces

    def wanted(
        self, name: StreamName, slots: Sequence[OpenSlot], pts_ns: int, on_skipped: OnSkipped
    ) -> tuple[TrackId, ...]:
        """Which of the faces with an open slot to sample now, in order; a file's are all sampled."""
        place = self._places[name]
        if not place.plan.is_live:
            return tuple(slot.track_id for slot in slots)
        wanted, sampler, overload = [], place.sampler, self.overload_stride(name)
        for slot in slots:
            skips = sampler.stride(slot.track_id, pts_ns, overload).skips(slot.steps)
            over = sampler.looked(slot.track_id, slot.slot, skips)
            if over is not None:
                on_skipped(name, over)
            if skips is None:
                wanted.append(slot.track_id)
        return sampler.in_order(wanted, pts_ns)

    def in_turn(
        self, wanted: Mapping[StreamName, Sequence[TrackId]], pts_ns: Mapping[StreamName, int]
    ) -> dict[StreamName, tuple[TrackId, ...]]:
        """Whose crops are taken in this step, within the limit; ``pts_ns``: media time of each stream's frame."""
        live = {name: track_ids for name, track_ids in wanted.items() if self._places[name].plan.is_live}
        taken = self._crops.take(live, self._weights(live), self._policy.limits.max_batch)
        for name, track_ids in live.items():
            sampler, count = self._places[name].sampler, len(taken[name])
            for track_id in track_ids[:count]:
                sampler.tried(track_id, pts_ns[name])
            for track_id in track_ids[count:]:
                sampler.left_out(track_id)
        return {name: taken.get(name, tuple(track_ids)) for name, track_ids in wanted.items()}

    def learn(self, name: StreamName, faces: Sequence[FaceScore], pts_ns: int) -> None:
        """What the newest scores say: who is calm, who is suspicious, who is gone."""
        if self._places[name].plan.is_live:
            self._places[name].sampler.learn(faces, pts_ns)

    # Load

    @property
    def level(self) -> int:
        """Rungs down the ladder of thinned sampling; 0 when the machine keeps up."""
        return self._overload.level

    def worked(self, names: Collection[StreamName], began_ns: int, ended_ns: int) -> None:
        """A step on frames of these streams. One with a file's frame says nothing: files take what time there is."""
        places = [self._places[name] for name in names]
        if not all(place.plan.is_live for place in places):
            return
        if not all(place.has_come for place in places):
            self._overload.arrived(began_ns)
        for place in places:
            place.has_come = True
        self._overload.worked(began_ns, ended_ns)

    def update_load(self, now_ns: int) -> bool:
        """Whether the level has changed just now."""
        return self._overload.update(now_ns, self._present)

    def overload_stride(self, name: StreamName) -> int:
        """By how much a stream's sampling is thinned out; 1: not at all."""
        plan = self._places[name].plan
        return self._overload.stride(plan.priority, self._present) if plan.is_live else 1

    def stride_of(self, name: StreamName) -> int:
        """Every how many slots a stream is sampled now, calm faces aside."""
        plan = self._places[name].plan
        if not plan.is_live:
            return 1
        longest = longest_stride(self._window)
        return min(min(plan.sample_every, longest) * self.overload_stride(name), longest)

    def thinned_to(self, name: StreamName) -> int:
        """Every how many slots a stream is sampled because of overload; 1: as often as it asks for."""
        stride = self.stride_of(name)
        return stride if stride > min(self._places[name].plan.sample_every, longest_stride(self._window)) else 1

    @property
    def _present(self) -> set[Priority]:
        return {place.plan.priority for place in self._places.values() if place.plan.is_live}

    def _period_ns(self, name: StreamName) -> int:
        plan = self._places[name].plan
        period_ns = plan.detect_period_ns or self._detect_period_ns
        return thinned_period_ns(period_ns, self._slot_ns, self.overload_stride(name))

    def _longest_rest_ns(self, name: StreamName) -> int:
        return longest_rest_ns(self._period_ns(name), self._slot_ns)

    @property
    def _slot_ns(self) -> int:
        return round(self._window.period_s * 1e9)

    def _weights(self, names: Collection[StreamName]) -> dict[StreamName, int]:
        return {name: self._places[name].plan.weight for name in names}
