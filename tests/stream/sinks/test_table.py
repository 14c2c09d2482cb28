from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from rich.console import Console

from stream.sinks.table import STYLES, TableSink, gravest, plain_line, row_of, verdict_words
from stream.types import QualityReason, Scene, StreamName, StreamState, Verdict
from tests.stream.overlay.scenes import SECOND, face_of, scene_of


class HandClock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def sink_on(text: io.StringIO, *, terminal: bool, **options: Any) -> tuple[TableSink, HandClock]:
    clock = HandClock()
    console = Console(file=text, force_terminal=terminal, width=110, legacy_windows=False)
    return TableSink(console, clock=clock, **options), clock


REAL, FAKE = face_of(verdict=Verdict.REAL, probability=0.04), face_of(track=2)
UNSURE = face_of(verdict=Verdict.UNSURE, probability=0.91, reason=QualityReason.TOO_SMALL, track=3)


def test_the_gravest_face_speaks_for_its_stream() -> None:
    assert gravest((REAL, FAKE, UNSURE)) is FAKE
    assert gravest((REAL, UNSURE)) is UNSURE
    assert gravest(()) is None


def test_among_equals_the_most_suspicious_speaks() -> None:
    worse = face_of(probability=0.99, track=9)
    assert gravest((FAKE, worse, FAKE)) is worse


def test_every_verdict_has_a_style() -> None:
    assert set(STYLES) == set(Verdict)


def test_a_row_tells_the_stream() -> None:
    cells = [str(cell) for cell in row_of(scene_of(REAL, FAKE), 7)]
    assert cells == ["lobby", "playing", "fake", "97%", "2", "30.0", "84 ms", "7"]


def test_an_unsure_face_shows_its_reason_and_no_number() -> None:
    cells = [str(cell) for cell in row_of(scene_of(UNSURE), 0)]
    assert cells[2:4] == ["unsure (too small)", "-"]
    assert verdict_words(UNSURE) == "unsure (too small)"


def test_thinned_sampling_stands_beside_the_state_and_in_the_line() -> None:
    scene = dataclasses.replace(scene_of(REAL), thinned_to=3)
    assert str(row_of(scene, 0)[1]) == "playing, 1/3"
    assert plain_line(scene, 0).endswith("0 dropped, sampling 1/3")


def test_a_stream_without_faces_has_a_row() -> None:
    assert [str(cell) for cell in row_of(Scene(StreamName("door")), 0)][:4] == ["door", "connecting", "-", "-"]


def test_a_plain_line_names_every_face() -> None:
    line = plain_line(scene_of(REAL, FAKE, UNSURE), 3)
    assert line == "lobby: #1 real 4%, #2 fake 97%, #3 unsure (too small) | 30.0 fps, 84 ms, 3 dropped"


@pytest.mark.parametrize("state", [StreamState.CONNECTING, StreamState.RECONNECTING, StreamState.ENDED])
def test_a_stream_that_does_not_play_says_only_that(state: StreamState) -> None:
    assert plain_line(scene_of(FAKE, state=state), 0) == f"lobby: {state.value}"


def test_without_a_terminal_there_is_one_line_a_second_and_stream() -> None:
    text = io.StringIO()
    sink, clock = sink_on(text, terminal=False, drops={StreamName("lobby"): 5})
    other = dataclasses.replace(scene_of(), stream=StreamName("door"))
    for step in range(31):
        clock.now_ns = step * SECOND // 10
        sink.publish(scene_of(FAKE))
        sink.publish(other)
    sink.close()
    lines = text.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("lobby:")]) == 4
    assert len([line for line in lines if line.startswith("door:")]) == 4
    assert "5 dropped" in lines[0]


def test_a_change_of_state_is_printed_at_once() -> None:
    text = io.StringIO()
    sink, _ = sink_on(text, terminal=False)
    for state in (StreamState.CONNECTING, StreamState.PLAYING, StreamState.PLAYING, StreamState.ENDED):
        sink.publish(scene_of(state=state))
    assert [line.split(":")[1].split("|")[0].strip() for line in text.getvalue().splitlines()] == [
        "connecting",
        "no face",
        "ended",
    ]


def test_a_plain_line_is_never_wrapped_or_coloured() -> None:
    text = io.StringIO()
    sink, _ = sink_on(text, terminal=False)
    sink.publish(scene_of(*(face_of(track=track) for track in range(30))))
    assert len(text.getvalue().splitlines()) == 1
    assert "\x1b" not in text.getvalue()


def test_a_terminal_shows_a_table_of_all_streams() -> None:
    text = io.StringIO()
    sink, clock = sink_on(text, terminal=True)
    sink.publish(scene_of(REAL))
    clock.now_ns = SECOND
    sink.publish(dataclasses.replace(scene_of(FAKE), stream=StreamName("door")))
    sink.close()
    last = text.getvalue()[-900:]
    for word in ("stream", "verdict", "lobby", "real", "door", "fake", "97%"):
        assert word in last


def test_a_terminal_is_redrawn_four_times_a_second_at_most() -> None:
    text = io.StringIO()
    sink, clock = sink_on(text, terminal=True)
    sink.publish(scene_of(REAL))
    sizes = []
    for step in range(100):
        clock.now_ns = step * SECOND // 100
        sink.publish(scene_of(REAL))
        sizes.append(text.tell())
    sink.close()
    assert len(set(sizes)) <= 5


def test_names_are_not_read_as_markup() -> None:
    text = io.StringIO()
    sink, _ = sink_on(text, terminal=False)
    sink.publish(dataclasses.replace(scene_of(), stream=StreamName("[bold]cam[/bold]")))
    assert "[bold]cam[/bold]" in text.getvalue()


def test_closing_without_a_scene_prints_nothing() -> None:
    text = io.StringIO()
    sink, _ = sink_on(text, terminal=True)
    sink.close()
    sink.close()
    assert text.getvalue() == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stream_that_is_watched_no_more_leaves_the_table(terminal: bool) -> None:
    text = io.StringIO()
    sink, clock = sink_on(text, terminal=terminal)
    sink.publish(scene_of(REAL))
    sink.publish(dataclasses.replace(scene_of(), state=StreamState.ENDED, is_last=True))
    clock.now_ns = 10 * SECOND
    sink.publish(dataclasses.replace(scene_of(FAKE), stream=StreamName("yard")))
    sink.close()
    last = text.getvalue().rpartition("yard")[0].rpartition("stream")[2] if terminal else ""
    assert "lobby" not in last
    assert terminal or "lobby: no longer watched" in text.getvalue().splitlines()


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_is_kept_of_a_stream_that_is_gone(terminal: bool) -> None:
    sink, clock = sink_on(io.StringIO(), terminal=terminal)
    for number in range(5):
        scene = dataclasses.replace(scene_of(REAL), stream=StreamName(f"camera-{number}"))
        for last in (False, True):
            clock.now_ns += SECOND
            sink.publish(dataclasses.replace(scene, is_last=last))
    sink.close()
    assert sink._scenes == {}
    assert [name for name in sink._shown_ns if name] == []
