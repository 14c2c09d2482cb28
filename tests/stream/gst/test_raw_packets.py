from __future__ import annotations

import time

import numpy as np
import pytest

from tests.stream.sources.video_parts import need_gst

need_gst()


from stream.gst.buffers import sample_from_i420  # noqa: E402
from stream.gst.packet_ring import PacketRing  # noqa: E402
from stream.gst.raw_packets import LONGEST_SIDE, RATE_HZ, RawPackets, fitting  # noqa: E402
from stream.types import StreamName  # noqa: E402

SAMPLE = sample_from_i420(np.full((360, 320), 90, np.uint8), 30.0, 0)


def fed(ring: PacketRing, seconds: float) -> int:
    """Push 50 pictures a second of a clock that is wound by hand; how many packets came out."""
    now = [0.0]
    raw = RawPackets(StreamName("screen"), ring, clock=lambda: round(now[0] * 1e9))
    for number in range(round(seconds * 50)):
        now[0] = number / 50
        raw.push(SAMPLE, 0)
        time.sleep(0.002)
    raw.close()
    return len(ring.ended(ring.capture(0, 0)).packets)


def test_raw_pictures_are_encoded_at_a_low_rate_and_begin_with_a_key_frame() -> None:
    ring = PacketRing(60.0)
    count = fed(ring, 3.0)
    packets = ring.ended(ring.capture(0, 0))
    assert 3 * RATE_HZ - 8 <= count <= 3 * RATE_HZ
    assert packets.packets[0].is_key
    assert packets.caps.get_structure(0).get_name() == "video/x-h264"


def test_a_source_that_a_decoder_feeds_is_not_encoded_again() -> None:
    ring = PacketRing(60.0)
    ring.begin()
    assert fed(ring, 1.0) == 0


def test_once_closed_nothing_more_is_encoded() -> None:
    ring = PacketRing(60.0)
    raw = RawPackets(StreamName("screen"), ring)
    raw.close()
    raw.push(SAMPLE, 0)
    assert ring.held_bytes == 0


def test_a_source_that_is_opened_again_may_be_raw_now() -> None:
    ring = PacketRing(60.0)
    ring.begin()
    ring.renew()
    assert fed(ring, 1.0) > 0


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (640, 480)), ((1920, 1080), (1280, 720)), ((2160, 3840), (720, 1280)), ((321, 241), (320, 240))],
)
def test_large_pictures_are_made_smaller_and_sides_even(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitting(*size) == expected
    assert max(fitting(*size)) <= LONGEST_SIDE
