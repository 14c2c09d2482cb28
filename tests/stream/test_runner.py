"""The analysis thread: every stream gets its turn, and what fails is told without taking the others along."""

from __future__ import annotations

import threading

import pytest

from engines.errors import InferenceError
from stream.board import SceneBoard
from stream.errors import ModelError, OutputError, SourceError
from stream.runner import MAX_FAILED_STEPS, Runner, RunningStream
from stream.types import Scene, StreamState
from tests.fakes import ListObserver, MemorySink, ScriptedSource, frame_of
from tests.stream.test_pipeline import House


def running(house: House, source: ScriptedSource) -> RunningStream:
    return RunningStream(source, house.stream(source.name), SceneBoard())


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
