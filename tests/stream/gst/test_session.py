from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.stream.sources.video_parts import Footprint, clip, need_gst, wait_until

need_gst()

from gi.repository import Gst  # noqa: E402

from stream.errors import MissingPartError  # noqa: E402
from stream.gst.codecs import RAW  # noqa: E402
from stream.gst.faults import CUT_OFF, END, NO_VIDEO, NOT_STARTED, Fault  # noqa: E402
from stream.gst.launch import Launch, source_launch  # noqa: E402
from stream.gst.session import UNTOLD_AFTER_S, GstSession, element_exists, element_runs  # noqa: E402
from stream.sources.uri import parse_source  # noqa: E402

SMALL = "video/x-raw,format=I420,width=64,height=48,framerate=30/1"
CUT = {
    "mp4": struct.pack(">I4s8xI4s", 16, b"ftyp", 9999, b"mdat") + bytes(2000),
    "mkv": b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska" + bytes(300),
    "avi": b"RIFF\0\1\0\0AVI LIST" + bytes(500),
}
"""Files that end before their first picture."""
SINK = "appsink name=frames sync=false max-buffers=2"


def pattern(count: int, *, live: bool = False) -> Launch:
    source = f"videotestsrc name=source num-buffers={count} is-live={str(live).lower()}"
    return Launch(f"{source} ! {SMALL} ! {SINK}", {"pattern": "smpte"})


def launch_of(text: str, environment: Mapping[str, str] | None = None) -> Launch:
    return source_launch(parse_source(text), element_exists, environment or {"DISPLAY": ":0"})


def fault_of(session: GstSession) -> Fault:
    faults: list[Fault] = []
    wait_until(lambda: faults or faults.extend(filter(None, [session.fault()])), "the bus to tell")
    return faults[0]


def drained(session: GstSession) -> int:
    """Pull until the end; how many frames there were."""
    count = 0
    while not session.is_drained:
        count += session.pull(0.1) is not None
    return count


KINDS = ("webcam", "rtsp://u:p@cam/x?a=1", "http://h/a.mp4", "https://h/a.m3u8", "a.mp4", "test")


@pytest.mark.parametrize("text", KINDS)
def test_every_kind_of_source_can_be_built_here(text: str) -> None:
    launch = launch_of(text)
    session = GstSession(launch)
    assert session.decoder == RAW
    session.stop()


def test_a_screen_line_can_be_built_where_x_is_known() -> None:
    if not element_exists("ximagesrc"):
        pytest.skip("GStreamer's ximagesrc is not installed")
    GstSession(launch_of("screen:0")).stop()


def test_user_text_reaches_the_element_untouched() -> None:
    name = "a \"b\" ! fakesink 'c'.mp4"
    session = GstSession(launch_of(name))
    assert session._pipeline.get_by_name("source").get_property("location") == name
    session.stop()


def test_credentials_reach_the_element_that_logs_in() -> None:
    session = GstSession(launch_of("rtsp://us%3Aer:p%40ss@cam/x"))
    source = session._pipeline.get_by_name("source")
    assert source.get_property("user-id") == "us:er"
    assert source.get_property("user-pw") == "p@ss"
    assert source.get_property("location") == "rtsp://cam/x"
    session.stop()


def test_every_frame_can_be_pulled_and_then_the_end_is_told() -> None:
    session = GstSession(pattern(25))
    session.start()
    assert drained(session) == 25
    assert fault_of(session) == END
    assert session.pull(0.0) is None
    session.stop()


def test_every_frame_is_handed_over_on_another_thread() -> None:
    samples: list[tuple[Any, int]] = []
    session = GstSession(pattern(25), on_sample=lambda sample: samples.append((sample, threading.get_ident())))
    session.start()
    assert fault_of(session) == END
    assert len(samples) == 25
    assert threading.get_ident() not in {thread for _, thread in samples}
    session.stop()


def test_a_waiting_frame_is_announced() -> None:
    announced = threading.Event()
    session = GstSession(pattern(3), on_waiting=announced.set)
    session.start()
    assert announced.wait(60)
    assert session.pull(60) is not None
    session.stop()


def test_what_a_callback_raises_reaches_the_owner() -> None:
    def fail(_: Any) -> None:
        raise ZeroDivisionError("a bug")

    session = GstSession(pattern(5), on_sample=fail)
    session.start()
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: session.fault() and False, "the callback's error")
    session.stop()


def test_the_decoder_that_runs_and_its_time_are_told(tmp_path: Path) -> None:
    took: list[float] = []
    session = GstSession(launch_of(str(clip(tmp_path / "a.mp4", frames=20))), on_decoded=took.append)
    session.start()
    assert drained(session) == 20
    factory = Gst.ElementFactory.find(session.decoder)
    assert "Decoder" in factory.get_metadata("klass")
    assert len(took) >= 15
    assert all(0 < seconds < 60 for seconds in took)
    assert session.duration_s == pytest.approx(20 / 30, abs=0.05)
    session.stop()


def test_a_stream_without_a_picture_is_told_apart_from_an_end() -> None:
    session = GstSession(Launch("audiotestsrc num-buffers=1 ! fakesink  fakesrc num-buffers=0 ! " + SINK))
    session.start()
    assert fault_of(session) == NO_VIDEO
    session.stop()


@pytest.mark.parametrize("ending", CUT)
def test_an_error_that_is_lost_on_its_way_is_told_all_the_same(tmp_path: Path, ending: str) -> None:
    """decodebin drops what a new element complains about at once; here the bus drops everything."""
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(CUT[ending])
    session = GstSession(launch_of(str(path)))
    session.start()
    session._pipeline.get_bus().set_flushing(True)
    assert fault_of(session) == CUT_OFF
    session.stop()


def test_a_good_file_is_not_given_up_while_nobody_reads_it(tmp_path: Path) -> None:
    """Its demuxer has long read everything: one that rests is no fault by itself."""
    session = GstSession(launch_of(str(clip(tmp_path / "a.mp4", frames=2))))
    session.start()
    wait_until(lambda: session._demuxers and not session.fault() and session._has_video, "a picture")
    for _ in range(2):
        assert session.fault() is None
        time.sleep(UNTOLD_AFTER_S)
    assert drained(session) == 2
    session.stop()


class Mute(Gst.Element):  # type: ignore[misc]  # gi has no types
    """Refuses to start without an error."""

    __gstmetadata__ = ("Mute", "Source", "Refuses to start", "tests")

    def do_change_state(self, transition: Any) -> Any:
        if transition == Gst.StateChange.READY_TO_PAUSED:
            return Gst.StateChangeReturn.FAILURE
        return Gst.Element.do_change_state(self, transition)


def test_a_pipeline_that_refuses_to_start_is_told() -> None:
    Gst.Element.register(None, "unmasktestmute", 0, Mute)
    session = GstSession(Launch(f"unmasktestmute {pattern(5).text}"))
    session.start()
    assert fault_of(session) == NOT_STARTED
    session.stop()


def test_an_unknown_element_is_a_missing_part() -> None:
    with pytest.raises(MissingPartError, match="unmask doctor"):
        GstSession(Launch("nosuchelement ! appsink name=frames"))


def test_stopping_twice_or_before_the_start_is_harmless() -> None:
    session = GstSession(pattern(5))
    session.stop()
    session.stop()
    assert session.fault() is None


@pytest.mark.parametrize("use", ["pull", "callback"])
def test_twenty_sessions_leave_no_thread_and_no_descriptor(use: str) -> None:
    def once() -> None:
        seen: list[Any] = []
        callbacks: dict[str, Callable[[Any], None]] = {"on_sample": seen.append} if use == "callback" else {}
        session = GstSession(pattern(1000, live=True), **callbacks)  # type: ignore[arg-type]
        session.start()
        wait_until(lambda: seen or (use == "pull" and session.pull(0.1)), "a frame")
        session.stop()

    once()
    before = Footprint()
    for _ in range(20):
        once()
    before.check()


def test_an_element_that_is_not_there_does_not_run() -> None:
    assert element_runs("videotestsrc")
    assert not element_runs("nosuchelement")


def test_an_element_without_its_device_does_not_run() -> None:
    if os.path.exists("/dev/video0"):
        pytest.skip("this machine has a camera")
    assert element_exists("v4l2src")
    assert not element_runs("v4l2src")
