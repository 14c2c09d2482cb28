from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stream.sources.video_parts import clip, need_gst, wait_until

need_gst()

from gi.repository import Gst  # noqa: E402

from stream.gst.launch import source_launch  # noqa: E402
from stream.gst.packet_ring import PacketRing, Packets  # noqa: E402
from stream.gst.session import GstSession, element_exists  # noqa: E402
from stream.sources.uri import parse_source  # noqa: E402

SECOND = 1_000_000_000
H264 = Gst.Caps.from_string("video/x-h264,stream-format=avc,alignment=au")
JPEG = Gst.Caps.from_string("image/jpeg")


def picture(at_s: float, *, key: bool, size: int = 100, pts_s: float | None = None) -> Any:
    buffer = Gst.Buffer.new_wrapped(bytes(size))
    buffer.pts = round((at_s if pts_s is None else pts_s) * SECOND)
    if not key:
        buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
    return buffer


class Camera:
    """Ten pictures a second with a key frame each second, on a clock of its own."""

    def __init__(self, before_s: float = 3.0, **limits: int) -> None:
        self.now_s, self.number = 0.0, 0
        self.ring = PacketRing(before_s, clock=lambda: round(self.now_s * SECOND), **limits)

    def send(self, seconds: float, *, size: int = 100, caps: Any = H264, shift_s: float = 0.0) -> None:
        for _ in range(round(seconds * 10)):
            self.now_s = self.number / 10
            key = self.number % 10 == 0
            self.ring.push(picture(self.now_s, key=key, size=size, pts_s=self.now_s + shift_s), caps)
            self.number += 1

    def capture(self, from_s: float, until_s: float) -> Any:
        return self.ring.capture(round(from_s * SECOND), round(until_s * SECOND))

    def ended(self, capture: Any) -> tuple[float, float, str]:
        """(begin, end, why it was cut) of what was captured; it must begin with a key frame."""
        packets = self.ring.ended(capture)
        assert packets.packets[0].is_key
        return packets.packets[0].arrived_ns / SECOND, packets.packets[-1].arrived_ns / SECOND, packets.cut


def test_it_begins_with_a_key_frame() -> None:
    camera = Camera()
    camera.number = 5  # a viewer joins between two key frames
    camera.send(1.0)
    assert camera.ring.held_bytes == 500
    assert camera.ended(camera.capture(0, 9)) == (1.0, 1.4, "")


@pytest.mark.parametrize("seconds", [1.0, 3.0, 7.5, 60.0])
@pytest.mark.parametrize("before_s", [0.0, 3.0, 10.0])
def test_it_holds_the_time_asked_for_and_one_group_of_pictures(seconds: float, before_s: float) -> None:
    camera = Camera(before_s)
    camera.send(seconds)
    held_s = camera.ring.held_bytes / 1000
    assert min(before_s, seconds) <= held_s <= before_s + 1.1


@pytest.mark.parametrize("size", [100, 150, 999, 2000])
def test_its_bytes_are_bounded(size: int) -> None:
    camera = Camera(60.0, max_bytes=5000)
    for _ in range(200):
        camera.send(0.1, size=size)
        assert camera.ring.held_bytes <= 5000


def test_a_group_larger_than_all_room_is_dropped_and_the_next_key_frame_begins_anew() -> None:
    camera = Camera(60.0, max_bytes=5000)
    camera.send(0.6, size=1000)
    assert camera.ring.held_bytes == 0
    camera.send(0.4, size=1000)
    assert camera.ring.held_bytes == 0
    camera.send(0.5)
    assert camera.ring.held_bytes == 500


def test_a_capture_reaches_from_the_key_frame_before_to_its_end() -> None:
    camera = Camera()
    camera.send(10.0)
    capture = camera.capture(7.5, 12.0)
    camera.send(5.0)
    assert camera.ended(capture) == (7.0, 12.0, "")


def test_a_capture_that_is_ended_early_has_what_came_until_then() -> None:
    camera = Camera()
    camera.send(10.0)
    capture = camera.capture(7.5, 12.0)
    camera.send(1.0)
    assert camera.ended(capture) == (7.0, 10.9, "")
    camera.send(1.0)
    assert len(capture.packets) == 40, "nothing is added once it was handed out"


def test_captures_do_not_disturb_each_other() -> None:
    camera = Camera()
    camera.send(10.0)
    first = camera.capture(9.0, 11.0)
    camera.send(1.0)
    second = camera.capture(10.0, 12.0)
    camera.send(3.0)
    assert [camera.ended(one)[:2] for one in (first, second)] == [(9.0, 11.0), (10.0, 12.0)]


def test_of_a_stream_that_fell_silent_before_its_last_seconds_are_captured() -> None:
    camera = Camera()
    camera.send(10.0)
    assert camera.ended(camera.capture(30.0, 40.0)) == (6.0, 9.9, "")


def test_a_stream_that_has_not_begun_is_captured_once_it_does() -> None:
    camera = Camera()
    capture = camera.capture(0.0, 5.0)
    assert camera.ring.ended(camera.capture(0.0, 5.0)) == Packets(None, ())
    camera.number = 3
    camera.send(2.0)
    assert camera.ended(capture) == (1.0, 2.2, "")


@pytest.mark.parametrize("how", ["another decoder", "another format", "time leaps ahead", "time leaps back"])
def test_an_interruption_ends_captures_and_begins_anew(how: str) -> None:
    camera = Camera()
    camera.send(10.0)
    capture = camera.capture(9.0, 20.0)
    camera.send(1.0)
    if how == "another decoder":
        camera.ring.begin()
    caps = JPEG if how == "another format" else H264
    camera.send(1.0, caps=caps, shift_s={"time leaps ahead": 60.0, "time leaps back": -5.0}.get(how, 0.0))
    assert camera.ended(capture) == (9.0, 10.9, "the stream was interrupted")
    assert camera.ring.held_bytes == 1000
    assert camera.ended(camera.capture(0, 99))[0] == 11.0


def test_pictures_out_of_order_are_no_interruption() -> None:
    ring = PacketRing(60.0)
    for pts_s, key in [(1.0, True), (1.3, False), (1.1, False), (1.2, False), (1.6, False), (1.4, False)]:
        ring.push(picture(pts_s, key=key), H264)
    assert ring.held_bytes == 600


def test_a_stream_that_sends_more_than_a_clip_may_hold_is_cut_and_says_so() -> None:
    camera = Camera(3.0, max_bytes=10_000)
    camera.send(5.0)
    capture = camera.capture(3.0, 60.0)
    camera.send(20.0)
    assert camera.ended(capture) == (3.0, 14.9, "the stream sends more than a clip may hold")


@pytest.mark.parametrize(("caps", "is_shared"), [(H264, True), (JPEG, False)])
def test_pictures_are_shared_but_for_those_that_a_driver_lends(caps: Any, is_shared: bool) -> None:
    ring, sent = PacketRing(1.0), picture(0.0, key=True)
    ring.push(sent, caps)
    held = ring.ended(ring.capture(0, 0)).packets[0].buffer
    assert (held is sent) == is_shared
    assert held.extract_dup(0, 100) == sent.extract_dup(0, 100)


def test_the_first_key_frame_of_a_stream_is_remembered_for_what_it_says() -> None:
    camera = Camera()
    camera.send(30.0)
    opening = camera.ring.ended(camera.capture(28.0, 30.0)).opening
    assert opening is not None
    assert opening.arrived_ns == 0


def test_a_session_hands_over_what_goes_into_its_decoder(tmp_path: Path) -> None:
    ring = PacketRing(60.0)
    launch = source_launch(parse_source(str(clip(tmp_path / "a.mp4", frames=30))), element_exists, {})
    session = GstSession(launch, packets=ring)
    session.start()
    wait_until(lambda: session.pull(0.1) is None and session.is_drained, "the end")
    session.stop()
    packets = ring.ended(ring.capture(0, 0))
    assert packets.caps.get_structure(0).get_name() == "video/x-h264"
    assert len(packets.packets) == 30
    assert ring.has_decoder
