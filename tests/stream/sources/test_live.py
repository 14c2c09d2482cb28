"""Live sources against scripted sessions: every way to lose a camera, without a camera."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stream.sources.video_parts import Tap, need_gst, sample_of, wait_until

need_gst()

from gi.repository import Gst  # noqa: E402

from stream.errors import MissingPartError  # noqa: E402
from stream.gst.faults import END, Fault  # noqa: E402
from stream.sources import live  # noqa: E402
from stream.sources.live import LiveSource, RetryPolicy  # noqa: E402
from stream.sources.uri import parse_source  # noqa: E402
from stream.types import StreamName, StreamState  # noqa: E402
from tests.fakes import ListObserver  # noqa: E402

NAME = StreamName("door")
QUICK = RetryPolicy(first_s=0.001, longest_s=0.01, stalled_after_s=1e9, first_frame_within_s=1e9)
SECOND = 1_000_000_000
REFUSED = Fault("refused", "nothing answers")


class ScriptedSession:
    """Behaves as the test tells it to, from the test's own thread."""

    decoder = "scripted"
    duration_s = None
    is_drained = False

    def __init__(self, on_sample: Callable[[Any], None]) -> None:
        self.send = on_sample
        self.lost: Fault | None = None
        self.stopped = threading.Event()

    def start(self) -> None: ...

    def pull(self, timeout_s: float) -> Any:  # noqa: ARG002 - the protocol's signature
        raise AssertionError("a live source takes what it is handed")

    def fault(self) -> Fault | None:
        return self.lost

    def stop(self) -> None:
        self.stopped.set()


class Rig:
    """A live source, its sessions, and everybody whom it tells."""

    def __init__(self, retry: RetryPolicy = QUICK, text: str = "rtsp://u:Zq7@cam/x") -> None:
        self.sessions: list[ScriptedSession] = []
        self.observer, self.tap, self.now_ns = ListObserver(), Tap(), 0
        self.woken: list[int] = []
        self.source = LiveSource(
            NAME,
            parse_source(text),
            self._open,
            observer=self.observer,
            clock=lambda: self.now_ns,
            video=self.tap,
            on_frame=lambda: self.woken.append(1),
            retry=retry,
        )

    def _open(self, on_sample: Callable[[Any], None], _: Callable[[float], None]) -> ScriptedSession:
        self.sessions.append(ScriptedSession(on_sample))
        return self.sessions[-1]

    def session(self, number: int) -> ScriptedSession:
        wait_until(lambda: len(self.sessions) > number, f"session {number}")
        return self.sessions[number]

    def states(self) -> list[StreamState]:
        return [state for _, state in self.observer.of("stream_state")]

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    with Rig() as rig:
        for index in range(5):
            rig.session(0).send(sample_of(index * SECOND // 30))
        frame = rig.source.read(0.0)
        assert frame is not None
        assert frame.pts_ns == 4 * SECOND // 30
        assert rig.source.read(0.0) is None
        assert rig.observer.of("frame_dropped") == [(NAME, "analysis", "newer_frame")] * 4
        assert len(rig.observer.of("frame_arrived")) == len(rig.tap.seen) == len(rig.woken) == 5


@settings(deadline=None, max_examples=20)
@given(st.lists(st.booleans(), max_size=40))
def test_arrived_is_read_plus_dropped_plus_the_one_that_waits(reads: list[bool]) -> None:
    with Rig() as rig:
        read = 0
        for index, is_read in enumerate(reads):
            rig.session(0).send(sample_of(index))
            read += is_read and rig.source.read(0.0) is not None
        waiting = rig.source.read(0.0) is not None
        assert len(reads) == read + len(rig.observer.of("frame_dropped")) + waiting


def test_a_source_plays_from_its_first_frame_on() -> None:
    with Rig() as rig:
        rig.session(0)
        assert rig.source.state is StreamState.CONNECTING
        rig.session(0).send(sample_of(0))
        assert rig.source.state is StreamState.PLAYING
    assert rig.states() == [StreamState.CONNECTING, StreamState.PLAYING, StreamState.ENDED]


@pytest.mark.parametrize("fault", [END, REFUSED, Fault("unauthorized", "refused the password")])
def test_a_lost_source_is_opened_again_in_a_new_segment(fault: Fault) -> None:
    with Rig() as rig:
        rig.session(0).send(sample_of(7 * SECOND))
        rig.session(0).lost = fault
        rig.session(1).send(sample_of(2 * SECOND))
        frame = rig.source.read(60)
        assert frame is not None
        assert (frame.segment, frame.pts_ns) == (1, 0)
        assert rig.sessions[0].stopped.is_set()
        assert rig.observer.of("reconnected") == [(NAME, fault.reason)]
        assert rig.source.last_error is None
    playing, again = StreamState.PLAYING, StreamState.RECONNECTING
    assert rig.states() == [StreamState.CONNECTING, playing, again, playing, StreamState.ENDED]


def test_a_camera_that_is_absent_at_start_is_tried_for_ever() -> None:
    with Rig() as rig:
        for attempt in range(6):
            rig.session(attempt).lost = REFUSED
        rig.session(6)
        assert rig.source.decoder is None
        rig.session(6).send(sample_of(0))
        assert rig.source.state is StreamState.PLAYING
        assert rig.source.decoder == "scripted", "known with the first frame"
        frame = rig.source.read(0.0)
        assert frame is not None
        assert frame.segment == 0


def test_the_last_error_is_one_line_without_credentials() -> None:
    with Rig() as rig:
        rig.session(0).lost = REFUSED
        rig.session(1)
        assert rig.source.state is StreamState.RECONNECTING
        assert rig.source.last_error == "rtsp://***@cam/x: nothing answers"


def test_silence_while_playing_is_a_stall() -> None:
    with Rig(RetryPolicy(first_s=0.001, stalled_after_s=5.0, first_frame_within_s=1e9)) as rig:
        rig.session(0).send(sample_of(0))
        rig.now_ns = 6 * SECOND
        rig.session(1)
        assert rig.observer.of("reconnected") == [(NAME, "stalled")]


def test_silence_from_the_start_is_a_timeout_after_more_patience() -> None:
    with Rig(RetryPolicy(first_s=0.001, stalled_after_s=5.0, first_frame_within_s=15.0)) as rig:
        rig.session(0)
        rig.now_ns = 16 * SECOND
        rig.session(1)
        assert rig.observer.of("reconnected")[0] == (NAME, "timeout")


def test_a_time_jump_and_a_change_of_size_are_told_and_begin_segments() -> None:
    with Rig() as rig:
        for sample in (sample_of(0), sample_of(5 * SECOND), sample_of(5 * SECOND + 1, 32, 32)):
            rig.session(0).send(sample)
        assert rig.tap.seen == [(0, 16, 16), (1, 16, 16), (2, 32, 32)]
        assert rig.observer.of("reconnected") == [(NAME, "pts_jump"), (NAME, "caps_change")]
        assert len(rig.sessions) == 1


def test_frames_without_time_stamps_are_timed_by_their_arrival() -> None:
    with Rig() as rig:
        times = []
        for index in range(3):
            rig.now_ns = 100 * SECOND + index * SECOND // 10
            rig.session(0).send(sample_of(Gst.CLOCK_TIME_NONE))
            frame = rig.source.read(0.0)
            assert frame is not None
            times.append(frame.pts_ns)
        assert times == [0, SECOND // 10, 2 * SECOND // 10]


def test_the_rate_is_measured_by_arrival() -> None:
    with Rig() as rig:
        for index in range(51):
            rig.now_ns = index * SECOND // 25
            rig.session(0).send(sample_of(index * SECOND // 25))
        assert [fps for _, fps in rig.observer.of("source_fps")] == [25.0, 25.0]


def test_read_waits_for_a_frame_of_another_thread() -> None:
    with Rig() as rig:
        session = rig.session(0)
        timer = threading.Timer(0.05, lambda: session.send(sample_of(0)))
        timer.start()
        assert rig.source.read(60) is not None
        timer.join()


def test_a_borrowed_frame_shows_the_samples_pixels() -> None:
    with Rig() as rig:
        rig.session(0).send(sample_of(0))
        frame = rig.source.read(0.0)
        assert frame is not None
        with frame:
            assert (frame.planes.y == 128).all()


def test_closing_ends_a_long_wait_at_once_and_every_thread() -> None:
    rig = Rig(RetryPolicy(first_s=1e6, longest_s=1e6))
    rig.session(0).lost = REFUSED
    wait_until(lambda: rig.source.state is StreamState.RECONNECTING, "the loss")
    rig.source.close()
    assert rig.source.state is StreamState.ENDED
    assert not [thread for thread in threading.enumerate() if thread.name == f"source-{NAME}"]
    assert rig.source.read(0.0) is None


def test_a_session_that_does_not_stop_is_left_behind_with_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "CLOSE_TIMEOUT_S", 0.1)
    let_go = threading.Event()
    with Rig() as rig:
        rig.session(0).stop = let_go.wait  # type: ignore[method-assign,assignment]
        rig.source.close()
        assert "@cam/x does not let go" in caplog.text
        assert "Zq7" not in caplog.text
        caplog.clear()
        rig.source.close()
        let_go.set()
        assert caplog.text == "", "told once"
        rig.source._thread.join(10)


def test_closing_wakes_a_reader() -> None:
    rig = Rig()
    answers: list[Any] = []
    reader = threading.Thread(target=lambda: answers.append(rig.source.read(1e6)))
    reader.start()
    rig.source.close()
    reader.join(60)
    assert answers == [None]


def test_what_cannot_be_mended_by_waiting_reaches_the_reader() -> None:
    def impossible(*_: Any) -> ScriptedSession:
        raise MissingPartError("no decoder: install one")

    source = LiveSource(NAME, parse_source("rtsp://cam/x"), impossible, observer=ListObserver(), retry=QUICK)
    wait_until(lambda: source.state is StreamState.FAILED, "the failure")
    with pytest.raises(MissingPartError, match="install one"):
        source.read(0.0)
    source.close()


def buggy() -> Fault | None:
    raise ZeroDivisionError("a bug")


@pytest.fixture
def waited_for(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many failures in a row each wait was for; none takes any time."""
    told = list[int]()

    def wait_s(_: RetryPolicy, failures: int, *__: object) -> float:
        told.append(failures)
        return 0.0

    monkeypatch.setattr(RetryPolicy, "wait_s", wait_s)
    return told


def test_a_bug_in_a_callback_is_logged_with_its_trace_and_costs_that_stream_one_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Rig() as rig:
        for number in (0, 1):
            rig.session(number).fault = buggy  # type: ignore[method-assign]
        rig.session(2).send(sample_of(0))
        assert rig.states()[-2:] == [StreamState.RECONNECTING, StreamState.PLAYING]
        assert rig.observer.of("reconnected") == [(NAME, "error")] * 2
        assert all(session.stopped.is_set() for session in rig.sessions[:2])
        frame = rig.source.read(0.0)
        assert frame is not None
        frame.release()
    (told,) = [record for record in caplog.records if record.exc_info]
    assert "in buggy" in caplog.text
    assert "Zq7" not in told.getMessage()


def test_a_bug_in_what_is_given_each_frame_ends_neither_the_source_nor_its_reader() -> None:
    """As GStreamer's session tells it: what a callback raised is raised again by ``fault``."""
    with Rig() as rig:
        rig.tap.push = lambda *_: 1 / 0  # type: ignore[method-assign,assignment]
        session = rig.session(0)
        with pytest.raises(ZeroDivisionError) as caught:
            session.send(sample_of(0))

        def fault() -> Fault | None:
            raise caught.value

        session.fault = fault  # type: ignore[method-assign]
        rig.session(1)
        assert rig.source.read(0.0) is None


def test_a_bug_with_each_frame_makes_waits_longer_and_one_long_after_is_traced_again(
    caplog: pytest.LogCaptureFixture, waited_for: list[int]
) -> None:
    with Rig() as rig:
        for number, fault in enumerate((buggy, buggy, lambda: live.STALLED, buggy)):
            session = rig.session(number)
            session.send(sample_of(0))
            session.fault = fault  # type: ignore[method-assign]
        rig.session(4)
    assert waited_for[:4] == [1, 2, 1, 2]
    assert len([record for record in caplog.records if record.exc_info]) == 2


def test_a_bug_after_a_night_of_pictures_is_the_first_in_a_row_and_traced(
    caplog: pytest.LogCaptureFixture, waited_for: list[int]
) -> None:
    with Rig() as rig:
        for number in range(3):
            session = rig.session(number)
            session.send(sample_of(0))
            rig.now_ns += 3600 * 10**9
            session.fault = buggy  # type: ignore[method-assign]
        rig.session(3)
    assert waited_for[:3] == [1, 1, 1]
    assert len([record for record in caplog.records if record.exc_info]) == 3


@given(st.integers(1, 10_000), st.floats(0, 1), st.sampled_from(["eos", "error", "stalled", "refused"]))
def test_waits_double_up_to_the_limit_and_chance_only_shortens_them(failures: int, chance: float, reason: str) -> None:
    policy = RetryPolicy(first_s=0.5, longest_s=30.0, jitter=0.3)
    wait_s = policy.wait_s(failures, reason, chance)
    full_s = min(0.5 * 2 ** min(failures - 1, 30), 30.0)
    assert 0.7 * full_s - 1e-9 <= wait_s <= full_s


@pytest.mark.parametrize("reason", ["unauthorized", "not_found", "untrusted"])
def test_a_refused_password_or_path_is_tried_slowly_from_the_start(reason: str) -> None:
    assert RetryPolicy().wait_s(1, reason, 0.0) == RetryPolicy().longest_s
