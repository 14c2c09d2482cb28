"""Streams come and go between two rounds of the analysis, asked for by any thread."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from stream.errors import UsageError
from stream.roster import Roster, RunningStream
from stream.runner import Runner
from stream.scheduling.scheduler import SchedulingPolicy
from stream.types import Frame, Scene, StreamState
from tests.fakes import MemorySink, ScriptedSource, frame_of
from tests.stream.test_pipeline import House
from tests.stream.test_runner import LiveSource, Watch, clip, running


def settle(roster: Roster) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    roster.settle(
        lambda stream: told.append(("came", stream.source.name)),
        lambda stream: told.append(("left", stream.source.name)),
    )
    return told


def test_whoever_comes_and_goes_is_told_of_in_order_and_once() -> None:
    house, wake = House(), threading.Event()
    first, second = running(house, clip("a")), running(house, clip("b"))
    roster = Roster([first], wake)
    roster.bring_in(second)
    assert wake.is_set()
    assert not roster.take_out(first, timeout_s=0.0), "nobody has settled it yet"
    assert settle(roster) == [("came", "a"), ("came", "b"), ("left", "a")]
    assert settle(roster) == []


def test_what_is_to_follow_a_late_leave_follows_it() -> None:
    stream, told = running(House(), clip("a")), list[str]()
    roster = Roster([stream], threading.Event())
    assert not roster.take_out(stream, timeout_s=0.0, afterwards=lambda: told.append("afterwards"))
    assert told == []
    roster.settle(lambda _: told.append("came"), lambda _: told.append("left"))
    assert told == ["came", "left", "afterwards"]


def test_a_run_with_nobody_in_it_waits_and_one_whose_streams_are_over_ends() -> None:
    roster = Roster([], threading.Event())
    assert not roster.close_if_over()
    roster.bring_in(running(House(), ScriptedSource("a", ())))
    assert not roster.close_if_over(), "one is about to come"
    settle(roster)
    with roster.held_open():
        assert not roster.close_if_over()
    assert roster.close_if_over()
    with pytest.raises(UsageError, match="the run is over"):
        roster.bring_in(running(House(), clip("b")))


def test_when_there_are_no_more_rounds_nobody_waits_for_one() -> None:
    roster = Roster([], threading.Event())
    stream, answers = running(House(), clip("a")), list[bool]()
    thread = threading.Thread(target=lambda: answers.append(roster.take_out(stream, timeout_s=60.0)))
    thread.start()
    while not roster._wishes:
        pass
    roster.close()
    thread.join(30)
    assert answers == [True]
    assert roster.take_out(stream, timeout_s=60.0)


class Camera(LiveSource):
    """Plays for ever: every read finds a frame, a tenth of a second after the one before."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reads = 0

    def read(self, timeout_s: float) -> Frame:  # noqa: ARG002 - the protocol's signature
        self.reads += 1
        return frame_of(self.reads / 10, stream=self.name)


class Counting(MemorySink):
    """Says when a stream has had so many scenes more."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Condition()

    def publish(self, scene: Scene) -> None:
        with self.came:
            super().publish(scene)
            self.came.notify_all()

    def of(self, name: str) -> list[Scene]:
        return [scene for scene in self.scenes if scene.stream == name]

    def wait_for_more(self, name: str, count: int = 5) -> None:
        with self.came:
            had = len(self.of(name))
            assert self.came.wait_for(lambda: len(self.of(name)) >= had + count, 30)


def test_a_stream_comes_and_goes_while_another_loses_nothing() -> None:
    house, sink = House(), Counting()
    stays, comes = running(house, Camera("stays")), running(house, Camera("comes"))
    runner = Runner(house.analyzer, [stays], [sink], house.observer, wake=threading.Event())
    runner.start()
    sink.wait_for_more("stays")
    runner.roster.bring_in(comes)
    sink.wait_for_more("comes")
    assert runner.roster.take_out(comes)
    reads = comes.source.reads  # type: ignore[attr-defined]
    sink.wait_for_more("stays")
    runner.stop()
    runner.join()
    assert comes.source.reads == reads, "it was read after it had left"  # type: ignore[attr-defined]
    last = sink.of("comes")[-1]
    assert (last.state, last.faces, last.is_last) == (StreamState.ENDED, (), True)
    times = [scene.pts_ns for scene in sink.of("stays")]
    slot_ns = 200_000_000  # of the model's window: a steady picture is looked at no more often
    assert {late - early for early, late in pairwise(times)} == {100_000_000, slot_ns}
    assert times[-1] > stays.source.reads * 100_000_000 - slot_ns  # type: ignore[attr-defined]


def test_the_place_of_one_that_left_is_free_for_the_next() -> None:
    watch = Watch("ab", SchedulingPolicy())
    watch.round("ab", 1000)
    watch.runner._settle()
    first = watch.runner._streams[0]
    threading.Timer(0.0, watch.runner.roster.take_out, [first]).start()
    while watch.runner.roster._wishes or len(watch.runner._streams) == 2:
        watch.runner._settle()
    comes: RunningStream = running(watch.house, LiveSource("c"))
    watch.runner.roster.bring_in(comes)
    watch.runner._settle()
    places = watch.house.analyzer.scheduler._places
    assert {name: place.index for name, place in places.items()} == {"b": 1, "c": 0}


def test_one_that_comes_back_to_its_board_is_watched_again() -> None:
    house, sink = House(), Counting()
    stream = running(house, Camera("cam"))
    runner = Runner(house.analyzer, [stream], [sink], house.observer, wake=threading.Event())
    runner.start()
    sink.wait_for_more("cam", 1)
    assert runner.roster.take_out(stream)
    again = RunningStream(ScriptedSource("cam", [None] * 1000), stream.analysis, stream.board)
    runner.roster.bring_in(again)
    sink.wait_for_more("cam", 1)
    runner.stop()
    runner.join()
    assert [scene.is_last for scene in sink.of("cam")][-2:] == [True, False]
