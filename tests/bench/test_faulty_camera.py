"""The pretend camera's clock: what a client gets on the wire when it jumps."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.stream.sources.video_parts import need_gst, wait_until

need_gst()

from gi.repository import Gst  # noqa: E402

from bench.faulty_camera import STAMP, VIDEO_CLOCK_HZ, FaultyCamera, picture, shifted  # noqa: E402

SECOND = 10**9


@pytest.mark.parametrize(
    ("stamp", "seconds", "then"),
    [(0, 1, 90_000), (90_000, -1, 0), (2**32 - 1, 1, 89_999), (0, -1, 2**32 - 90_000), (5, 0, 5)],
)
def test_a_time_stamp_is_shifted_and_wraps_around(stamp: int, seconds: int, then: int) -> None:
    assert shifted(stamp.to_bytes(4, "big"), seconds * SECOND) == then.to_bytes(4, "big")


@pytest.mark.parametrize("seconds", [30.0, -30.0])
def test_a_jump_of_its_clock_is_in_the_packets_that_a_client_gets(seconds: float) -> None:
    stamps = list[int]()

    def keep(_pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        with info.get_buffer().map(Gst.MapFlags.READ) as mapped:
            stamps.append(int.from_bytes(bytes(mapped.data[STAMP]), "big"))
        return Gst.PadProbeReturn.OK

    with FaultyCamera(picture("black")) as camera:
        source = f"rtspsrc location={camera.url} protocols=tcp latency=100"
        client = Gst.parse_launch(f"{source} ! rtph264depay name=depay ! fakesink")
        client.get_by_name("depay").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, keep)
        client.set_state(Gst.State.PLAYING)
        try:
            wait_until(lambda: len(stamps) > 5, "packets")
            camera.shift(seconds)
            count = len(stamps)
            wait_until(lambda: len(stamps) > count + 30, "more packets")
        finally:
            client.set_state(Gst.State.NULL)
    steps = [round((after - before) / VIDEO_CLOCK_HZ, 1) for before, after in pairwise(stamps)]
    assert [step for step in steps if abs(step) > 1.0] == [pytest.approx(seconds, abs=0.2)]
