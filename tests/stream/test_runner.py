"""The analysis thread: every stream gets its turn, and what fails is told without taking the others along."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from engines.errors import InferenceError
from stream.board import SceneBoard
from stream.errors import ModelError, OutputError, SourceError
from stream.pipeline import StreamAnalysis
from stream.roster import RunningStream
from stream.runner import MAX_FAILED_STEPS, Runner
from stream.scheduling.overload import OverloadPolicy
from stream.scheduling.plan import Limits, Priority, StreamPlan
from stream.scheduling.scheduler import SchedulingPolicy
from stream.types import Frame, Scene, StreamState
from tests.fakes import ListObserver, MemorySink, ScriptedSource, frame_of
from tests.stream.test_pipeline import House


def running(house: House, source: ScriptedSource) -> RunningStream:
    plan = StreamPlan(is_live=source.is_live)
    return RunningStream(source, house.stream(source.name, plan), SceneBoard())


def run(house: House, *sources: ScriptedSource, sinks: tuple[object, ...] = ()) -> tuple[Runner, list[RunningStream]]:
    streams = [running(house, source) for source in sources]
    runner = Runner(house.analyzer, streams, sinks, house.observer, wake=threading.Event())  # type: ignore[arg-type]
    runner.start()
    assert runner.finished.wait(30)
    return runner, streams


def clip(name: str = "cam", seconds: float = 2.0, fps: float = 10.0) -> ScriptedSource:
    return ScriptedSource(name, [frame_of(index / fps, stream=name) for index in range(round(seconds * fps))])


def test_it_ends_when_every_source_has_ended() -> None:
    sink = MemorySink()
    runner, (first, second) = run(House(), clip("a"), clip("b", seconds=1.0), sinks=(sink,))
    runner.join()
    assert {scene.stream for scene in sink.scenes} == {"a", "b"}
    assert (first.state, second.state) == (StreamState.ENDED, StreamState.ENDED)


def test_every_borrowed_frame_is_given_back() -> None:
    given_back: list[int] = []
    frames = [frame_of(n / 30, release=lambda n=n: given_back.append(n)) for n in range(30)]
    runner, _ = run(House(), ScriptedSource("cam", frames))
    runner.join()
    assert given_back == list(range(30))


def test_what_runs_between_two_rounds_has_the_analysis_thread_to_itself() -> None:
    house, seen = House(), list[tuple[str, int]]()
    streams = [running(house, clip())]
    runner = Runner(
        house.analyzer,
        streams,
        [],
        house.observer,
        wake=threading.Event(),
        between=lambda: seen.append((threading.current_thread().name, runner.rounds)),
    )
    runner.start()
    assert runner.finished.wait(30)
    runner.join()
    assert {name for name, _ in seen} == {"analysis"}
    assert [rounds for _, rounds in seen] == list(range(1, runner.rounds + 1))


def test_a_source_that_fails_does_not_stop_the_others() -> None:
    broken = ScriptedSource("bad", [frame_of(0.0, stream="bad"), SourceError("bad: gone: plug it in")])
    sink = MemorySink()
    runner, (bad, good) = run(House(), broken, clip("good"), sinks=(sink,))
    runner.join()
    assert str(bad.failure) == "bad: gone: plug it in"
    assert good.failure is None
    assert len([scene for scene in sink.scenes if scene.stream == "good" and scene.faces]) >= 18


def test_a_sink_that_fails_is_dropped_and_the_scenes_go_on() -> None:
    class FullDisk(MemorySink):
        def publish(self, scene: Scene) -> None:
            super().publish(scene)
            raise OutputError("scores.jsonl: disk full: free some space")

    full, good = FullDisk(), MemorySink()
    runner, _ = run(House(), clip(), sinks=(full, good))
    runner.join()
    assert len(full.scenes) == 1
    assert len(good.scenes) >= 20


def test_one_failed_step_is_counted_and_the_next_goes_on() -> None:
    house = House()
    steps = iter([InferenceError("once")])
    step = house.analyzer.step

    def failing_once(batch: object) -> object:
        for error in steps:
            raise error
        return step(batch)  # type: ignore[arg-type]

    house.analyzer.step = failing_once  # type: ignore[method-assign,assignment]
    sink = MemorySink()
    runner, _ = run(house, clip(), sinks=(sink,))
    runner.join()
    assert house.observer.of("frame_dropped") == [("cam", "analysis", "error")]
    assert sink.scenes[-1].faces


def test_a_model_that_keeps_failing_is_given_up_with_one_line() -> None:
    house = House()

    def failing(_: object) -> object:
        raise InferenceError("out of memory")

    house.analyzer.step = failing  # type: ignore[method-assign,assignment]
    runner, _ = run(house, clip(seconds=10.0))
    with pytest.raises(ModelError, match="25 times in a row: out of memory"):
        runner.join()
    assert len(house.observer.of("frame_dropped")) == MAX_FAILED_STEPS


def test_a_bug_reaches_the_owner_with_its_trace() -> None:
    class Buggy(MemorySink):
        def publish(self, scene: Scene) -> None:
            raise ZeroDivisionError(scene.stream)

    runner, _ = run(House(), clip(), sinks=(Buggy(),))
    with pytest.raises(ZeroDivisionError):
        runner.join()


def test_a_lost_source_shows_its_state_and_no_faces() -> None:
    class Lost(ScriptedSource):
        is_live = True

        @property
        def state(self) -> StreamState:
            return StreamState.PLAYING if self._script else StreamState.RECONNECTING

    house, sink, source = House(), MemorySink(), Lost("cam", [frame_of(n / 10) for n in range(20)])
    stream = running(house, source)
    observer = ListObserver()
    runner = Runner(house.analyzer, [stream], [sink], observer, wake=threading.Event())
    runner.start()
    runner.finished.wait(1.0)
    runner.stop()
    runner.join()
    assert (sink.scenes[-1].state, sink.scenes[-1].faces) == (StreamState.RECONNECTING, ())
    assert observer.of("faces_tracked")[-1][-1] == 0
    assert any(scene.faces for scene in sink.scenes)


def test_a_lost_source_shows_its_state_though_another_always_has_a_frame() -> None:
    class Endless(ScriptedSource):
        is_live, state, count = True, StreamState.PLAYING, 0  # type: ignore[assignment]

        def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - the protocol's signature
            self.count += 1
            return frame_of(self.count / 10, stream=self.name)

    class Lost(ScriptedSource):
        is_live, state = True, StreamState.RECONNECTING  # type: ignore[assignment]

    house, sink, told = House(), MemorySink(), threading.Event()
    streams = [running(house, Endless("busy", ())), running(house, Lost("lost", ()))]
    runner = Runner(house.analyzer, streams, [sink], house.observer, wake=threading.Event())
    runner._between = lambda: told.set() if runner.rounds == 20 else None
    runner.start()
    assert told.wait(30)
    runner.stop()
    runner.join()
    assert [scene.state for scene in sink.scenes if scene.stream == "lost"] == [StreamState.RECONNECTING]


class HandClock:
    """Time that goes on only when somebody waits for it."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns


class HandWake(threading.Event):
    """Waiting winds the clock: to the next of ``news``, or to the end of the wait."""

    def __init__(self, clock: HandClock, news: dict[int, LiveSource] | None = None) -> None:
        super().__init__()
        self._clock, self._news = clock, dict(news or {})
        self.waited_ms: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        began_ns = self._clock.now_ns
        end_ns = began_ns + round((timeout or 0) * 1e9)
        due = min((at for at in self._news if at <= end_ns), default=None)
        self._clock.now_ns = end_ns if due is None else max(due, began_ns)
        if due is not None:
            self._news.pop(due).bring(due)
        self.waited_ms.append((self._clock.now_ns - began_ns) / 1e6)
        return due is not None


class LiveSource(ScriptedSource):
    """A camera whose newest frame is what ``bring`` put there."""

    is_live = True
    state = StreamState.PLAYING  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        super().__init__(name, ())

    def bring(self, arrived_ns: int) -> None:
        self._script = [frame_of(arrived_ns / 1e9, stream=self.name)]


class Watch:
    """A runner without its thread, on hand-wound time: the test makes its rounds."""

    def __init__(
        self, names: str, scheduling: SchedulingPolicy, news: Callable[[dict[str, LiveSource]], object] = lambda _: None
    ) -> None:
        self.house = House(scheduling=scheduling)
        self.clock = HandClock()
        self.sources = {name: LiveSource(name) for name in names}
        self.wake = HandWake(self.clock, news(self.sources))  # type: ignore[arg-type]
        streams = [running(self.house, source) for source in self.sources.values()]
        self.runner = Runner(self.house.analyzer, streams, [], self.house.observer, wake=self.wake, clock=self.clock)

    def round(self, names: str, at_ms: int) -> None:
        self.clock.now_ns = at_ms * 1_000_000
        for name in names:
            self.sources[name].bring(self.clock.now_ns)
        self.runner.round()

    @property
    def looked_at(self) -> list[str]:
        return [stream for stream, _ in self.house.observer.of("faces_tracked")]


WINDOW = SchedulingPolicy(batch_window_ns=5_000_000)


def test_a_due_frame_waits_for_the_others_and_not_a_moment_longer() -> None:
    """The other camera's look falls due three milliseconds later, and its frame comes one after that."""
    watch = Watch("ab", WINDOW, lambda sources: {1_351_000_000: sources["b"]})
    watch.round("ab", 1000)
    watch.round("b", 1260)
    watch.wake.waited_ms.clear()
    watch.round("a", 1347)
    assert watch.wake.waited_ms == [4.0]
    assert watch.looked_at == ["a", "b", "b", "a", "b"]
    assert [batch for model, _, batch, _ in watch.house.observer.of("inference") if model == "scripted"][-1] == 2


def test_the_window_ends_when_the_others_stay_away() -> None:
    watch = Watch("ab", WINDOW)
    watch.round("ab", 1000)
    watch.wake.waited_ms.clear()
    watch.round("a", 1147)
    watch.round("", 1300)
    assert sum(watch.wake.waited_ms) == 5.0
    assert watch.looked_at == ["a", "b", "a"]


def test_one_that_comes_does_not_make_the_window_longer_for_those_that_do_not() -> None:
    watch = Watch("abc", WINDOW, lambda sources: {1_149_000_000: sources["c"]})
    watch.round("abc", 1000)
    watch.wake.waited_ms.clear()
    watch.round("a", 1147)
    assert watch.wake.waited_ms == [2.0, 3.0]
    assert watch.looked_at[3:] == ["a", "c"]


@pytest.mark.parametrize(("names", "at_ms"), [("ab", 1150), ("a", 1101)])
def test_nobody_waits_when_all_are_there_or_none_is_about_to_fall_due(names: str, at_ms: int) -> None:
    watch = Watch("ab", WINDOW)
    watch.round("ab", 1000)
    watch.round("b", 1060)
    watch.wake.waited_ms.clear()
    watch.round(names, at_ms)
    assert watch.wake.waited_ms == []


def test_without_a_window_nobody_waits() -> None:
    watch = Watch("ab", SchedulingPolicy())
    watch.round("ab", 1000)
    watch.round("a", 1149)
    assert watch.wake.waited_ms == []


def test_more_cameras_than_a_step_searches_take_turns_and_are_counted() -> None:
    watch = Watch("abc", SchedulingPolicy(Limits(max_detections=2)))
    for at_ms in (1000, 1500, 2000):
        watch.round("abc", at_ms)
    assert sorted(watch.looked_at) == ["a", "a", "b", "b", "c", "c"]
    assert sorted(watch.house.observer.of("frame_dropped")) == [(name, "analysis", "turn") for name in "abc"]


def test_a_thread_that_does_not_keep_up_says_so_and_recovers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watch = Watch("ab", SchedulingPolicy(overload=OverloadPolicy(window_s=1.0, calm_s=2.0, settle_s=0.0)))
    step = watch.house.analyzer.step

    def slow(batch: Sequence[tuple[StreamAnalysis, Frame]]) -> tuple[Scene, ...]:
        watch.clock.now_ns += 199_000_000
        return step(batch)

    watch.house.analyzer.step = slow  # type: ignore[method-assign,assignment]
    for fifth in range(8):
        watch.round("ab", 1000 + 200 * fifth)
    assert watch.house.observer.of("overload_level") == [(1,)]
    assert watch.house.observer.of("sampling_ratio") == [("a", 0.5), ("b", 0.5)]
    for tenth in range(40):
        watch.round("", 2500 + 100 * tenth)
    assert watch.house.observer.of("overload_level") == [(1,), (0,)]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "overload level 1: sampled slots are now a 1/2, b 1/2"),
        ("INFO", "overload level 0: sampled slots are now a 1/1, b 1/1"),
    ]


def test_a_stream_without_a_frame_is_told_what_overload_costs_it_too() -> None:
    watch = Watch("ab", SchedulingPolicy())
    boards = [stream.board for stream in watch.runner._streams]
    watch.round("ab", 1000)
    scheduler = watch.house.analyzer.scheduler
    scheduler.update_load = lambda _: setattr(scheduler._overload, "level", 1) or True  # type: ignore[method-assign,func-returns-value]
    watch.round("a", 1200)
    watch.runner._publish_states()
    assert watch.house.observer.of("sampling_ratio") == [("a", 0.5), ("b", 0.5)]
    assert [scene.thinned_to for board in boards if (scene := board.newest())] == [2, 2]


def test_who_else_comes_and_goes_changes_a_streams_ratio_and_it_is_told() -> None:
    """The first rung costs those of low priority alone, for as long as there are any."""
    watch = Watch("a", SchedulingPolicy())
    watch.runner._settle()
    watch.house.analyzer.scheduler._overload.level = 1
    watch.runner._tell_sampling()
    low = LiveSource("low")
    plan = StreamPlan(is_live=True, priority=Priority.LOW)
    newcomer = RunningStream(low, watch.house.stream(low.name, plan), SceneBoard())
    watch.runner.roster.bring_in(newcomer)
    watch.runner._settle()
    watch.runner._settle()
    leaving = threading.Thread(target=watch.runner.roster.take_out, args=(newcomer,))
    leaving.start()
    while leaving.is_alive():
        watch.runner._settle()
    told = watch.house.observer.of("sampling_ratio")
    assert told == [("a", 1.0), ("a", 0.5), ("a", 1.0), ("low", 0.5), ("a", 0.5)]


def test_the_first_failed_inference_is_logged_at_once_and_the_next_a_minute_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch, step = Watch("a", SchedulingPolicy()), iter(range(100))
    good = watch.house.analyzer.step

    def every_other(batch: Sequence[tuple[StreamAnalysis, Frame]]) -> tuple[Scene, ...]:
        if (number := next(step)) % 2 == 0:
            raise InferenceError(f"number {number}")
        return good(batch)

    watch.house.analyzer.step = every_other  # type: ignore[method-assign,assignment]
    for second in range(62):
        watch.round("a", 1000 + 1000 * second)
    assert [record.getMessage() for record in caplog.records] == [
        "an inference failed, its frames are left out: number 0",
        "an inference failed, its frames are left out: number 60",
    ]


def test_a_frame_that_is_not_due_is_given_back_before_the_next_is_read() -> None:
    events: list[str] = []

    class Strict(LiveSource):
        def read(self, timeout_s: float) -> Frame | None:
            events.append("read")
            return super().read(timeout_s)

    watch = Watch("a", WINDOW)
    watch.runner._streams[0].source = Strict("a")
    for at_s in (1.0, 1.01):
        watch.runner._streams[0].source._script = [frame_of(at_s, stream="a", release=lambda: events.append("back"))]
        watch.runner.round()
    assert events == ["read", "back", "read", "back"]
