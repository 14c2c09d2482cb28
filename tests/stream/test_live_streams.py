"""Streams added, changed and removed while others run: on real pipelines, with scripted models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.stream.sources.video_parts import Footprint, clip, need_gst, wait_until

need_gst()

from stream import roster  # noqa: E402
from stream.app import Started, WatchResult, watch  # noqa: E402
from stream.config import AppConfig, StreamConfig  # noqa: E402
from stream.config_file import ConfigError  # noqa: E402
from stream.errors import TooManyStreamsError, UsageError  # noqa: E402
from stream.live_streams import LiveStreams, StreamChanges, StreamStatus  # noqa: E402
from stream.metrics import Metrics  # noqa: E402
from stream.parts import Parts  # noqa: E402
from stream.reload import Reload, changed_sections, words_of  # noqa: E402
from stream.types import FaceBox, Frame, StreamName, StreamState  # noqa: E402
from tests.fakes import ListObserver, MemorySink  # noqa: E402
from tests.stream.test_app import config, frames_in, parts  # noqa: E402


class Watching:
    """A watch on a thread of its own, and the door to its streams."""

    def __init__(self, asked: AppConfig, reload: Reload | None = None, given: Parts | None = None) -> None:
        self._parts = given or parts()
        self.observer, self.sink, self.stop = ListObserver(), MemorySink(), threading.Event()
        self._began, self._started = threading.Event(), list[Started]()
        self._result = list[WatchResult]()
        self._thread = threading.Thread(target=self._run, args=(asked, reload))
        self._thread.start()
        assert self._began.wait(60)

    @property
    def streams(self) -> LiveStreams:
        return self._started[0].streams

    @property
    def now(self) -> dict[str, StreamStatus]:
        return {stream.name: stream for stream in self.streams.list()}

    @property
    def metrics_url(self) -> str:
        return self._started[0].metrics_url or ""

    @property
    def page_url(self) -> str:
        return self._started[0].page_url or ""

    @property
    def restream_urls(self) -> tuple[str, ...]:
        return self._started[0].restream_urls

    def states(self) -> dict[str, str]:
        return {name: stream.state.value for name, stream in self.now.items()}

    def plays(self, *names: str) -> None:
        """Wait until each has brought some frames since now."""
        before = {name: len(self.frames(name)) for name in names}
        wait_until(lambda: all(len(self.frames(name)) >= before[name] + 5 for name in names), f"frames of {names}")

    def frames(self, name: str) -> list[int]:
        """When the frames of a stream arrived."""
        return [arrived_ns for stream, arrived_ns in self.observer.of("frame_arrived") if stream == name]

    def end(self) -> WatchResult:
        self.stop.set()
        self._thread.join(60)
        return self._result[0]

    def _run(self, asked: AppConfig, reload: Reload | None) -> None:
        def begin(started: Started) -> None:
            self._started.append(started)
            self._began.set()

        ended = watch(
            asked,
            parts=self._parts,
            sinks=[self.sink],
            observers=[self.observer],
            stop=self.stop,
            on_started=begin,
            reload=reload,
        )
        self._result.append(ended)


@contextmanager
def watching(asked: AppConfig, reload: Reload | None = None) -> Iterator[Watching]:
    run = Watching(asked, reload)
    try:
        yield run
    finally:
        run.end()


@pytest.fixture
def asked(tmp_path: Path) -> AppConfig:
    """One test camera, and no end."""
    return config(tmp_path, "test", duration_s=600.0)


def snow(name: str = "snow", **more: object) -> StreamConfig:
    return StreamConfig.model_validate({"source": "test:snow", "name": name} | more)


def test_streams_come_change_and_go_while_another_misses_no_frame(asked: AppConfig, tmp_path: Path) -> None:
    film = tmp_path / "test.mp4"
    stays = asked.streams[0].model_copy(update={"save": film})
    with watching(asked.with_streams([stays])) as run:
        run.plays("test")
        added = run.streams.add(snow(save=tmp_path / "first.mp4"))
        assert (added.name, added.source, added.last_error) == ("snow", "test:snow", None)
        assert (run.streams.described("snow"), run.streams.described("none")) == (
            snow(save=tmp_path / "first.mp4"),
            None,
        )
        run.plays("test", "snow")
        run.streams.change(snow(save=tmp_path / "second.mp4", priority="low"))
        run.plays("test", "snow")
        run.streams.remove("snow")
        assert run.states() == {"test": "playing"}
        run.plays("test")
        states = [state for name, state in run.observer.of("stream_state") if name == "test"]
    assert states == [StreamState.CONNECTING, StreamState.PLAYING]
    assert run.observer.of("reconnected") == []
    left_out = [drop for drop in run.observer.of("frame_dropped") if drop[:2] == ("test", "video")]
    assert frames_in(film) + len(left_out) == len(run.frames("test"))
    assert frames_in(tmp_path / "first.mp4") > 3
    assert frames_in(tmp_path / "second.mp4") > 3


def test_a_changed_source_goes_on_in_the_same_recording(asked: AppConfig, tmp_path: Path) -> None:
    film = tmp_path / "snow.mp4"
    with watching(asked) as run:
        run.streams.add(snow(save=film))
        run.plays("snow")
        run.streams.change(snow(save=film, priority="high"))
        run.plays("snow")
        run.streams.change(snow(save=film, source="test:smpte"))
        run.plays("snow")
        run.streams.change(snow(save=film, source=str(tmp_path / "none.mp4")))
        assert run.states() == {"test": "playing", "snow": "failed"}
        left_out = [drop for drop in run.observer.of("frame_dropped") if drop[:2] == ("snow", "video")]
    assert frames_in(film) + len(left_out) == len(run.frames("snow"))


def test_a_changed_stream_warms_up_afresh_and_uses_no_face_number_twice(asked: AppConfig) -> None:
    with watching(asked) as run:
        wait_until(lambda: any(scene.faces for scene in run.sink.scenes), "a face")
        before = {face.track_id for scene in run.sink.scenes for face in scene.faces}
        count = len(run.sink.scenes)
        run.streams.change(StreamConfig(source="test:smpte", name="test"))
        last = next(index for index, scene in enumerate(run.sink.scenes) if scene.is_last)
        assert last >= count - 1
        wait_until(lambda: any(scene.faces for scene in run.sink.scenes[last:]), "a face of the changed stream")
        after = {face.track_id for scene in run.sink.scenes[last:] for face in scene.faces}
    before |= {face.track_id for scene in run.sink.scenes[:last] for face in scene.faces}
    assert after
    assert not before & after


def test_coming_and_going_leaves_no_thread_no_descriptor_and_no_series(asked: AppConfig, tmp_path: Path) -> None:
    with watching(asked) as run:

        def once() -> None:
            run.streams.add(snow(save=tmp_path / "out.mp4"))
            run.plays("snow")
            run.streams.remove("snow")

        once()
        threads, before = threading.active_count(), Footprint()
        for _ in range(4):
            once()
        assert threading.active_count() <= threads
        before.check()
        assert {line for line in urlopen(run.metrics_url).read().decode().splitlines() if "snow" in line} == set()


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        ("test", "test", "2 are named test"),
        ("bogus://camera", "new", "source"),
        ("rtsp://${NOBODY_SET_THIS}@camera/1", "new", "NOBODY_SET_THIS is not set"),
    ],
)
def test_a_bad_request_is_one_line_and_changes_nothing(asked: AppConfig, source: str, name: str, words: str) -> None:
    with watching(asked) as run:
        with pytest.raises(UsageError, match=words):
            run.streams.add(StreamConfig(source=source, name=name))
        with pytest.raises(UsageError, match="no stream is named nobody: there are test"):
            run.streams.remove("nobody")
        with pytest.raises(UsageError, match="no stream is named nobody"):
            run.streams.change(StreamConfig(source="test", name="nobody"))
        assert list(run.now) == ["test"]
        run.plays("test")
        assert list(run.now) == ["test"]


def test_a_stream_that_cannot_be_opened_is_listed_with_its_reason_until_it_is_mended(
    asked: AppConfig, tmp_path: Path
) -> None:
    missing = tmp_path / "later.mp4"
    with watching(asked) as run:
        added = run.streams.add(StreamConfig(source=str(missing), name="film"))
        assert added.state is StreamState.FAILED
        assert "no file at" in (added.last_error or "")
        assert run.streams.replace(run.streams._config.streams) == StreamChanges(changed=("film",)), "not tried again"
        clip(missing)
        run.streams.change(StreamConfig(source=str(missing), name="film"))
        wait_until(lambda: run.states()["film"] == "ended", "the end of the film")
        run.plays("test")
        assert run.now["film"].last_error is None
    assert run.end().failures == ()


def test_a_stream_that_failed_after_it_was_opened_is_tried_again_and_plays_once_it_is_mended(
    asked: AppConfig, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no video " * 1000)
    with watching(asked) as run:
        run.streams.add(StreamConfig(source=str(film), name="film"))
        wait_until(lambda: run.states()["film"] == "failed", "the film to be given up")
        tried = run.observer.of("stream_state")
        run.streams.add(StreamConfig(source="test", name="another"))
        run.streams.remove("another")
        told = [entry for entry in run.observer.of("stream_state")[len(tried) :] if entry[0] == "film"]
        assert told == [], "tried again because of another stream"
        same = run.streams._config.streams
        assert run.streams.replace(same) == StreamChanges(changed=("film",)), "not tried again"
        wait_until(lambda: run.states()["film"] == "failed", "the film to be given up again")
        clip(film)
        run.streams.replace(same)
        wait_until(lambda: run.states()["film"] == "ended", "the end of the film")
        assert run.now["film"].last_error is None
        assert run.streams.replace(same) == StreamChanges()
        states = [state for name, state in run.observer.of("stream_state") if name == "test"]
        assert states == [StreamState.CONNECTING, StreamState.PLAYING]


def test_a_camera_that_does_not_answer_says_why_without_its_password(asked: AppConfig) -> None:
    with watching(asked) as run:
        run.streams.add(StreamConfig(source="rtsp://guard:s3cr3t@127.0.0.1:9/yard?token=s3cr3t", name="yard"))
        wait_until(lambda: run.now["yard"].last_error, "a reason")
        told = run.now["yard"]
        run.plays("test")
        assert told.state is StreamState.RECONNECTING
        assert "nothing answers" in (told.last_error or "")
        assert "s3cr3t" not in repr(told)
        assert "s3cr3t" not in repr(run.streams.list())


def test_nothing_is_remembered_of_a_stream_that_was_removed_while_inference_hung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the hanging step tells of it, and the last word of it, come after the removal."""
    monkeypatch.setattr(roster, "ANSWER_TIMEOUT_S", 0.2)
    evidence = {"folder": tmp_path / "evidence", "key": tmp_path / "key.pem"}
    hangs, goes_on, given = threading.Event(), threading.Event(), parts()
    detect = given.detector.detect
    goes_on.set()

    def hanging(frame: Frame) -> tuple[FaceBox, ...]:
        if not goes_on.is_set():
            hangs.set()
            goes_on.wait(60)
        return detect(frame)

    given.detector.detect = hanging  # type: ignore[method-assign]
    run = Watching(config(tmp_path, "test", duration_s=600.0, evidence=evidence), given=given)
    try:
        keeper = run.streams._shared.keeper
        assert keeper is not None
        run.streams.add(snow())
        wait_until(lambda: "snow" in keeper._memory._streams, "sights of it")
        goes_on.clear()
        assert hangs.wait(60)
        run.streams.remove("snow")
        goes_on.set()
        run.plays("test")
        wait_until(lambda: any(scene.is_last for scene in run.sink.scenes), "the last word")
        wait_until(lambda: list(keeper._memory._streams) == ["test"], "nothing but the stream that stays")
    finally:
        goes_on.set()
        run.end()


def test_a_run_outlives_its_last_stream_and_watches_the_next(asked: AppConfig) -> None:
    with watching(asked) as run:
        run.plays("test")
        run.streams.remove("test")
        assert run.states() == {}
        run.streams.add(StreamConfig(source="test"))
        run.plays("test")
        assert run.states() == {"test": "playing"}
    with pytest.raises(UsageError, match="the run is over"):
        run.streams.add(snow())


def test_of_requests_at_once_no_more_are_met_than_may_be_watched(asked: AppConfig) -> None:
    with watching(asked) as run:
        most, refused = len(run.streams.list()) + 2, list[TooManyStreamsError]()

        def ask() -> None:
            try:
                run.streams.add(StreamConfig(source="test"), most)
            except TooManyStreamsError as error:
                refused.append(error)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(run.streams.list()), len(refused)) == (most, 4)
        assert str(refused[0]) == f"{most} streams are watched, and no more may be: remove one"


# Metrics


def test_a_removed_streams_series_are_gone_and_what_comes_late_is_other() -> None:
    metrics = Metrics()
    lobby, yard = StreamName("lobby"), StreamName("yard")
    metrics.add_stream(yard)
    before = metrics.scrape()
    metrics.add_stream(lobby)
    metrics.frame_arrived(lobby, 0)
    assert 'stream="lobby"' in metrics.scrape()
    metrics.remove_stream(lobby)
    assert _names(metrics.scrape()) == _names(before)
    metrics.frame_arrived(lobby, 0)
    assert 'unmask_stream_frames_total{stream="other"} 1.0' in metrics.scrape()
    metrics.remove_stream(lobby)
    metrics.add_stream(lobby)
    assert 'unmask_stream_frames_total{stream="lobby"} 0.0' in metrics.scrape()


def _names(scrape: str) -> list[str]:
    return [line.rpartition(" ")[0] for line in scrape.splitlines() if "unmask_" in line]


# Reading the configuration again


class Told:
    """What a reload says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def after(self, reload: Reload, count: int = 1) -> list[str]:
        """The lines of one reload."""
        self.lines.clear()
        reload.ask()
        wait_until(lambda: len(self.lines) >= count, "a word of the reload")
        return self.lines


def test_a_reload_adds_changes_and_removes_by_name_and_leaves_the_others_alone(asked: AppConfig) -> None:
    wanted, told = [asked], Told()
    reload = Reload(lambda: wanted[0], told.lines.append)
    with watching(asked, reload) as run:
        run.plays("test")
        source = run.streams._entries[StreamName("test")]
        wanted[0] = asked.with_streams([*asked.streams, snow(), snow("hail")])
        assert told.after(reload) == ["configuration read again: added snow, hail"]
        run.plays("test", "snow", "hail")
        wanted[0] = asked.with_streams([*asked.streams, snow(sample_every=2)])
        assert told.after(reload) == ["configuration read again: changed snow; removed hail"]
        assert told.after(reload) == ["configuration read again: no stream has changed"]
        run.plays("test", "snow")
        assert run.streams._entries[StreamName("test")] is source
        assert run.streams._entries[StreamName("snow")].order.plan.sample_every == 2


def test_a_bad_file_is_one_line_and_other_sections_wait_for_a_restart(asked: AppConfig, tmp_path: Path) -> None:
    def bad() -> AppConfig:
        raise UsageError("cameras.yaml:3: streams[0].source: missing: every entry needs it")

    read: list[Callable[[], AppConfig]] = [bad]
    told = Told()
    reload = Reload(lambda: read[0](), told.lines.append)
    with watching(asked, reload) as run:
        assert told.after(reload) == [
            "cameras.yaml:3: streams[0].source: missing: every entry needs it; nothing was changed"
        ]
        more = asked.model_copy(update={"scores": tmp_path / "others.jsonl", "duration_s": 5.0})
        read[0] = lambda: more
        assert told.after(reload, 2) == [
            "configuration read again: no stream has changed",
            "changed too, but used only after a restart: scores, duration_s",
        ]
        run.plays("test")


def test_every_problem_of_a_bad_file_is_a_line(asked: AppConfig) -> None:
    def bad() -> AppConfig:
        raise ConfigError(["cameras.yaml:3: no source", "cameras.yaml:5: unknown key", "cameras.yaml:9: no number"])

    told = Told()
    reload = Reload(bad, told.lines.append)
    with watching(asked, reload):
        assert told.after(reload, 3) == [
            "cameras.yaml:3: no source",
            "cameras.yaml:5: unknown key",
            "cameras.yaml:9: no number; nothing was changed",
        ]


def test_shared_defaults_take_effect_through_the_streams() -> None:
    before = AppConfig.model_validate({"streams": [{"source": "test"}]})
    after = AppConfig.model_validate({"streams": [{"source": "test"}], "defaults": {"priority": "high"}})
    assert changed_sections(before, after) == ()
    assert before.streams != after.streams


def test_changes_are_told_in_words() -> None:
    assert words_of(StreamChanges(("a", "b"), (), ("c",))) == "added a, b; removed c"
