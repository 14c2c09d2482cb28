"""What the decoder is given says which pictures it had to guess at; whole and broken ones are told apart by pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.stream.sources.video_parts import need_gst

need_gst()

from gi.repository import Gst  # noqa: E402

from stream.gst.damage import HEALED_AFTER_NS, MAX_IN_DECODER, DamageMarks, LossState, is_damaged  # noqa: E402
from stream.gst.launch import Launch  # noqa: E402
from stream.gst.session import GstSession, element_exists  # noqa: E402

S = 1_000_000_000
ENCODED_FRAMES = 240
X264 = "x264enc key-int-max=40 bframes=0 speed-preset=ultrafast threads=1 bitrate=2000"
X264_B = "x264enc key-int-max=40 bframes=2 b-adapt=false speed-preset=ultrafast threads=1 bitrate=2000"
X265 = "x265enc key-int-max=40 speed-preset=ultrafast bitrate=2000"
CODECS = {
    "H.264": (X264, "h264parse ! rtph264pay mtu=400 config-interval=-1", "rtph264depay"),
    "H.264 with B-frames": (X264_B, "h264parse ! rtph264pay mtu=400 config-interval=-1", "rtph264depay"),
    "H.265": (X265, "h265parse ! rtph265pay mtu=400 config-interval=-1", "rtph265depay"),
}
MOVING = "videotestsrc pattern=ball num-buffers={count} ! video/x-raw,format=I420,width=320,height=240,framerate=25/1"


@dataclass(frozen=True)
class Told:
    """An encoded picture as the state sees it."""

    gap: bool = False
    key: bool = False
    pts_ns: int | None = 0


def states(*pictures: Told) -> list[bool]:
    state = LossState()
    return [state.update(follows_gap=told.gap, is_key=told.key, pts_ns=told.pts_ns) for told in pictures]


def test_nothing_is_whole_before_the_first_key_picture() -> None:
    assert states(Told(gap=True), Told(), Told(gap=True, key=True), Told()) == [True, True, False, False]


def test_a_gap_spoils_everything_until_the_next_key_picture() -> None:
    assert states(Told(key=True), Told(), Told(gap=True), Told(), Told(key=True), Told()) == [
        *(False, False),
        *(True, True),
        *(False, False),
    ]


def test_a_stream_that_refreshes_bit_by_bit_heals_without_a_key_picture() -> None:
    later = [Told(pts_ns=S + HEALED_AFTER_NS + late) for late in (-1, 0, 1, 2)]
    assert states(Told(key=True), Told(gap=True, pts_ns=S), *later) == [False, True, True, True, False, False]
    assert states(Told(), *later)[-1] is False


def test_what_is_shown_before_the_healing_key_picture_may_still_stand_on_the_loss() -> None:
    """Leading pictures of an open group: decoded after the key picture, predicted across it as well."""
    group = [Told(key=True, pts_ns=9), Told(pts_ns=7), Told(pts_ns=8), Told(pts_ns=10)]
    assert states(Told(key=True), Told(gap=True, pts_ns=4), *group) == [False, True, False, True, True, False]
    assert states(Told(key=True), Told(pts_ns=4), *group) == 6 * [False]


def test_every_further_gap_puts_the_healing_off() -> None:
    half = HEALED_AFTER_NS // 2 + 1
    told = [Told(key=True), *(Told(gap=True, pts_ns=step * half) for step in range(4)), Told(pts_ns=4 * half)]
    assert states(*told) == [False, True, True, True, True, True]


def test_without_times_only_a_key_picture_heals() -> None:
    assert states(Told(key=True), Told(gap=True, pts_ns=None), Told(pts_ns=None), Told(pts_ns=99 * S)) == [
        False,
        *(True, True, True),
    ]


def buffer_of(pts_ns: int, *flags: Any) -> Any:
    buffer = Gst.Buffer.new_wrapped(b"picture")
    buffer.pts = pts_ns
    for flag in flags:
        buffer.set_flags(flag)
    return buffer


def test_a_decoder_that_keeps_pictures_for_ever_fills_no_memory() -> None:
    marks = DamageMarks()
    for step in range(3 * MAX_IN_DECODER):
        marks.entered(buffer_of(step, Gst.BufferFlags.DELTA_UNIT))
    assert len(marks._damaged) == MAX_IN_DECODER
    newest, long_gone = buffer_of(3 * MAX_IN_DECODER - 1), buffer_of(0)
    marks.left(newest)
    marks.left(long_gone)
    assert (is_damaged(newest), is_damaged(long_gone)) == (True, False)


def test_pictures_without_times_bear_the_state_of_the_moment() -> None:
    marks, none = DamageMarks(), int(Gst.CLOCK_TIME_NONE)
    marks.entered(buffer_of(none))
    whole = buffer_of(none)
    marks.left(whole)
    marks.entered(buffer_of(none, Gst.BufferFlags.DELTA_UNIT, Gst.BufferFlags.DISCONT))
    broken = buffer_of(none)
    marks.left(broken)
    assert (is_damaged(whole), is_damaged(broken)) == (False, True)


def decoded(codec: str, harm: str, count: int = ENCODED_FRAMES) -> dict[int, tuple[str, bool]]:
    """PTS -> (digest of the pixels, whether it is marked) of a moving picture sent through ``harm``."""
    encoder, pay, depay = CODECS[codec]
    if not element_exists(encoder.split()[0]):
        pytest.skip(f"{encoder.split()[0]} is not installed")
    launch = f"{MOVING.format(count=count)} ! {encoder} ! {pay} ! {harm} ! {depay} ! decodebin name=decode"
    session = GstSession(Launch(f"{launch} ! video/x-raw,format=I420 ! appsink name=frames sync=false max-buffers=2"))
    session.start()
    pictures = {}
    try:
        while not session.is_drained:
            sample = session.pull(0.1)
            if sample is not None:
                buffer = sample.get_buffer()
                pictures[buffer.pts] = (_digest(buffer), is_damaged(buffer))
    finally:
        session.stop()
    return pictures


def _digest(buffer: Any) -> str:
    _, mapped = buffer.map(Gst.MapFlags.READ)
    try:
        return hashlib.sha256(mapped.data).hexdigest()
    finally:
        buffer.unmap(mapped)


@pytest.mark.parametrize("codec", CODECS)
def test_every_picture_that_a_loss_has_changed_is_marked_and_hardly_another(codec: str) -> None:
    whole = decoded(codec, "identity")
    assert len(whole) == ENCODED_FRAMES
    assert not any(marked for _, marked in whole.values())
    harmed = decoded(codec, "identity drop-probability=0.004")
    changed = {pts for pts, (digest, _) in harmed.items() if whole.get(pts, ("",))[0] != digest}
    marked = {pts for pts, (_, is_marked) in harmed.items() if is_marked}
    assert changed, "the loss has changed nothing: nothing is proven"
    assert changed <= marked
    assert len(harmed) - len(marked) > 0, "every picture is marked: nothing is proven"


def test_the_marks_of_a_clip_read_from_disk_are_none(tmp_path: Path) -> None:
    """Key pictures come first in a file, and no gap is told of."""
    clip = tmp_path / "clip.mp4"
    pipeline = Gst.parse_launch(f"{MOVING.format(count=60)} ! {X264} ! h264parse ! mp4mux ! filesink name=out")
    pipeline.get_by_name("out").set_property("location", str(clip))
    pipeline.set_state(Gst.State.PLAYING)
    pipeline.get_bus().timed_pop_filtered(30 * Gst.SECOND, Gst.MessageType.EOS)
    pipeline.set_state(Gst.State.NULL)
    session = GstSession(
        Launch(
            "filesrc name=source ! decodebin name=decode ! video/x-raw,format=I420 ! appsink name=frames sync=false",
            {"location": str(clip)},
        )
    )
    session.start()
    marks = []
    while not session.is_drained:
        sample = session.pull(0.1)
        marks += [] if sample is None else [is_damaged(sample.get_buffer())]
    session.stop()
    assert marks == 60 * [False]
