"""What the main thread tells of the streams that it sees."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from stream.live_streams import StreamStatus
from stream.lookout import Lookout, Playing, status_of
from stream.service_notify import ServiceNotify
from stream.types import StreamName, StreamState
from stream.web.ports import Readiness

DOOR = StreamStatus(StreamName("door"), "test", StreamState.CONNECTING, None, 0.0, None, None, None)
STARTING = replace(DOOR, state=StreamState.PLAYING, fps=25.0)
RUNNING = replace(STARTING, decoder="avdec_h264", encoder="x264enc")
GATE = replace(RUNNING, name=StreamName("gate"), encoder=None)
DOOR_PLAYS, GATE_PLAYS = Playing(DOOR.name, "avdec_h264", "x264enc"), Playing(GATE.name, "avdec_h264", None)


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([[DOOR], [RUNNING], [RUNNING]], [DOOR_PLAYS]),
        ([[STARTING], [RUNNING]], [DOOR_PLAYS]),
        ([[RUNNING], [RUNNING, GATE]], [DOOR_PLAYS, GATE_PLAYS]),
        ([[RUNNING], [replace(RUNNING, state=StreamState.RECONNECTING, fps=0.0)], [RUNNING]], [DOOR_PLAYS]),
        ([[RUNNING], [], [RUNNING]], [DOOR_PLAYS, DOOR_PLAYS]),
        ([[DOOR], []], []),
    ],
)
def test_a_stream_that_plays_is_told_once_for_as_long_as_it_is_watched(
    looks: list[list[StreamStatus]], told: list[Playing]
) -> None:
    heard: list[Playing] = []
    lookout = Lookout(Readiness(), heard.append, ServiceNotify())
    for streams in looks:
        lookout.look(streams)
    assert heard == told


def test_it_is_ready_once_of_each_stream_it_is_known_how_it_is() -> None:
    readiness = Readiness()
    lookout = Lookout(readiness, lambda _: None, ServiceNotify())
    seen = []
    for streams in ([DOOR, GATE], [RUNNING, GATE]):
        lookout.look(streams)
        seen.append(readiness.is_ready)
    assert seen == [False, True]


def test_the_status_counts_states() -> None:
    playing, away = StreamState.PLAYING, StreamState.RECONNECTING
    assert status_of([playing]) == "1 stream: 1 playing"
    assert status_of([away, playing, playing]) == "3 streams: 2 playing, 1 reconnecting"
