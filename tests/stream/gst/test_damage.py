"""What the decoder is given says which pictures it had to guess at; whole and broken ones are told apart by pixels."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.stream.sources.video_parts import need_gst, play

need_gst()

from gi.repository import Gst  # noqa: E402

from stream.gst.damage import (  # noqa: E402
    HEALED_AFTER_NS,
    MAX_DECODERS,
    MAX_IN_DECODER,
    DamageMarks,
    Encoded,
    Entrance,
    LossState,
    is_damaged,
)
from stream.gst.key_pictures import any_stands_alone, stands_alone  # noqa: E402
from stream.gst.launch import Launch, source_launch  # noqa: E402
from stream.gst.session import GstSession, element_exists  # noqa: E402
from stream.sources.uri import parse_source  # noqa: E402

S = 1_000_000_000
DELTA, DISCONT, CORRUPTED = Gst.BufferFlags.DELTA_UNIT, Gst.BufferFlags.DISCONT, Gst.BufferFlags.CORRUPTED
NONE = int(Gst.CLOCK_TIME_NONE)

PLAIN = Encoded(is_key=False, stands_alone=False, follows_gap=False, at_ns=0, pts_ns=0)
GAP = replace(PLAIN, follows_gap=True)
KEY = replace(PLAIN, is_key=True, stands_alone=True)
POINT = replace(PLAIN, is_key=True)
"""A recovery point: a refresh begins."""


def states(*pictures: Encoded, packets: bool = True) -> str:
    """A letter each: whole or broken. Times count up by a tenth of a second unless a picture has its own."""
    state = LossState(gaps_are_losses=packets)
    timed = [replace(one, pts_ns=one.pts_ns or place * S // 10) for place, one in enumerate(pictures, 1)]
    return "".join("b" if state.update(picture) else "w" for picture in timed)


@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        ((GAP, PLAIN, KEY, PLAIN), "bbww"),
        ((replace(KEY, follows_gap=True), PLAIN), "ww"),
        ((KEY, PLAIN, GAP, PLAIN, KEY, PLAIN), "wwbbww"),
        ((KEY, replace(KEY, follows_gap=True), PLAIN, KEY), "wbbw"),
        ((KEY, GAP, PLAIN, POINT, PLAIN, POINT, PLAIN), "wbbbbww"),
        ((KEY, GAP, POINT, PLAIN, GAP, POINT, PLAIN, POINT), "wbbbbbbw"),
        ((KEY, PLAIN, POINT, PLAIN), "wwww"),
        ((PLAIN, POINT, PLAIN, POINT), "bbbw"),
    ],
    ids=[
        *("before the first key", "a key that begins the stream", "a loss lasts until the next key"),
        *("a key that the gap reaches into", "a refresh takes two points", "a gap begins the refresh anew"),
        *("a point without a loss is nothing", "joined in the middle of a refreshed stream"),
    ],
)
def test_what_stands_on_a_loss_is_broken(pictures: tuple[Encoded, ...], told: str) -> None:
    assert states(*pictures) == told


def test_in_files_a_gap_costs_whole_pictures_and_a_key_behind_it_is_one() -> None:
    cut = replace(KEY, follows_gap=True)
    assert states(KEY, PLAIN, cut, PLAIN, packets=False) == "wwww"
    assert states(KEY, GAP, PLAIN, cut, packets=False) == "wbbw"


def test_the_rest_of_a_broken_key_picture_is_no_key() -> None:
    """Depayloaders make two of a picture that lacks its end; both bear its time."""
    first, rest = replace(KEY, follows_gap=True, pts_ns=5 * S), replace(KEY, pts_ns=5 * S)
    after = (replace(PLAIN, pts_ns=6 * S), replace(KEY, pts_ns=7 * S))
    assert states(KEY, first, rest, *after) == "wbbbw"
    assert states(KEY, replace(GAP, pts_ns=4 * S), replace(PLAIN, pts_ns=5 * S), rest, *after) == "wbbbbw"


def test_what_is_shown_before_the_healing_key_may_still_stand_on_the_loss() -> None:
    """Leading pictures of an open group: decoded after the key, predicted across it as well."""
    group = [replace(KEY, pts_ns=9 * S), *(replace(PLAIN, pts_ns=at * S) for at in (7, 8, 10))]
    assert states(KEY, replace(GAP, pts_ns=4 * S), *group) == "wbwbbw"
    assert states(KEY, replace(PLAIN, pts_ns=4 * S), *group) == "wwwwww"
    later = [replace(KEY, pts_ns=20 * S), replace(KEY, pts_ns=1 * S), replace(PLAIN, pts_ns=2 * S)]
    assert states(KEY, replace(GAP, pts_ns=4 * S), *group, *later) == "wbwbbwwww", "times began anew"


@pytest.mark.parametrize("has_times", [True, False])
def test_a_stream_without_any_key_heals_by_time(has_times: bool) -> None:
    def at(told_ns: int, picture: Encoded = PLAIN) -> Encoded:
        return replace(picture, at_ns=told_ns, pts_ns=told_ns if has_times else None)

    state, last = LossState(), HEALED_AFTER_NS
    told = [at(S), at(S + last), at(S + last + 1), at(40 * S, GAP), at(40 * S + last, GAP), at(40 * S + 2 * last)]
    assert [state.update(one) for one in told] == [True, True, False, True, True, True]
    assert not state.update(at(40 * S + 2 * last + 1))


def buffer_of(pts_ns: int, *flags: Any) -> Any:
    buffer = Gst.Buffer.new_wrapped(b"picture")
    buffer.pts = pts_ns
    for flag in flags:
        buffer.set_flags(flag)
    return buffer


def enter(marks: DamageMarks, *buffers: Any) -> Entrance:
    """Into a decoder that is opened for them."""
    entrance = marks.opened(gaps_are_losses=True)
    for buffer in buffers:
        entrance.entered(buffer, None)
    return entrance


def marks_of(*buffers: Any) -> DamageMarks:
    marks = DamageMarks()
    enter(marks, *buffers)
    return marks


def stamped(marks: DamageMarks, *buffers: Any) -> list[bool]:
    for buffer in buffers:
        marks.stamp(buffer)
    return [is_damaged(buffer) for buffer in buffers]


def test_a_decoder_that_keeps_pictures_for_ever_fills_no_memory() -> None:
    marks = DamageMarks()
    entrance = enter(marks, *(buffer_of(step, DELTA) for step in range(3 * MAX_IN_DECODER)))
    assert len(entrance.damaged) == MAX_IN_DECODER
    assert stamped(marks, buffer_of(3 * MAX_IN_DECODER - 1), buffer_of(0)) == [True, False]


def test_two_pictures_of_one_time_are_both_marked() -> None:
    marks = marks_of(buffer_of(0), buffer_of(1, DELTA, DISCONT), buffer_of(1, DELTA))
    assert stamped(marks, buffer_of(0), buffer_of(1), buffer_of(1)) == [False, True, True]


def test_a_time_that_comes_again_bears_its_new_state() -> None:
    marks = marks_of(buffer_of(0), buffer_of(1, DELTA, DISCONT), buffer_of(2), buffer_of(3), buffer_of(1, DELTA))
    assert stamped(marks, buffer_of(1)) == [False]


def test_pictures_without_times_bear_the_state_of_the_moment() -> None:
    marks = marks_of(buffer_of(NONE))
    assert stamped(marks, buffer_of(NONE)) == [False]
    enter(marks, buffer_of(NONE), buffer_of(NONE, DELTA, DISCONT))
    assert stamped(marks, buffer_of(NONE), buffer_of(7)) == [True, False]


def test_a_second_decoder_says_nothing_of_what_comes_out_of_the_first() -> None:
    marks = marks_of(buffer_of(0), buffer_of(1, DELTA, DISCONT))
    enter(marks, buffer_of(2))
    marks.opened(gaps_are_losses=True)
    assert stamped(marks, buffer_of(0), buffer_of(1), buffer_of(2), buffer_of(NONE)) == [False, True, False, False]


def test_of_many_decoders_the_newest_are_asked() -> None:
    marks = DamageMarks()
    for number in range(2 * MAX_DECODERS):
        enter(marks, buffer_of(number, DELTA))
    told = stamped(marks, *(buffer_of(number) for number in range(2 * MAX_DECODERS)))
    assert told == [False] * MAX_DECODERS + [True] * MAX_DECODERS


def test_a_file_of_two_picture_tracks_is_whole(tmp_path: Path) -> None:
    """The second one's decoder is opened, and given a picture, while the first one's works."""
    tracks = [
        f"videotestsrc num-buffers=60 pattern={pattern} ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 "
        f"! {X264} ! h264parse ! queue ! both."
        for pattern in ("ball", "smpte")
    ]
    play(f"mp4mux name=both ! filesink location={tmp_path / 'two.mp4'} {' '.join(tracks)}")
    launch = source_launch(parse_source(str(tmp_path / "two.mp4")), element_exists, {})
    session = GstSession(launch)
    session.start()
    try:
        told = [marked for *_, marked in _pictures(session)]
    finally:
        session.stop()
    assert told == [False] * 60


def test_raw_pictures_are_whole() -> None:
    assert stamped(DamageMarks(), buffer_of(NONE), buffer_of(0)) == [False, False]


def test_a_decoder_that_marks_for_ever_is_believed_for_a_while_only() -> None:
    marks = marks_of(buffer_of(0))
    told = [buffer_of(at, CORRUPTED) for at in (S, S + HEALED_AFTER_NS, S + HEALED_AFTER_NS + 1, 99 * S)]
    assert stamped(marks, *told) == [True, True, False, False]
    assert stamped(marks, buffer_of(100 * S), buffer_of(101 * S, CORRUPTED)) == [False, True]


@pytest.mark.parametrize(
    ("codec", "heads", "alone"),
    [
        ("video/x-h264", (0x67, 0x68, 0x65), True),
        ("video/x-h264", (0x06, 0x41), False),
        ("video/x-h264", (), False),
        ("video/x-h265", (0x40, 0x26), True),
        ("video/x-h265", (0x40, 0x2A), True),
        ("video/x-h265", (0x4E, 0x02), False),
    ],
)
@pytest.mark.parametrize("length_bytes", [0, 1, 2, 4])
def test_the_units_of_a_key_picture_tell_whether_it_stands_alone(
    codec: str, heads: tuple[int, ...], alone: bool, length_bytes: int
) -> None:
    units = [bytes([head, 1, 2, 3, 4, 5, 6]) for head in heads]
    starts = [len(unit).to_bytes(length_bytes, "big") if length_bytes else b"\0\0\0\1" for unit in units]
    data = b"".join(start + unit for start, unit in zip(starts, units, strict=True))
    assert any_stands_alone(data, codec, length_bytes) is alone
    assert any_stands_alone(data[:1], codec, length_bytes) is False


@pytest.mark.parametrize(("described", "length_bytes"), [("0142001efe", 3), ("0142001efd", 2), ("0142001eff", 4)])
def test_the_codec_data_tell_how_long_a_units_length_is(described: str, length_bytes: int) -> None:
    caps = Gst.Caps.from_string(f"video/x-h264,stream-format=avc,codec_data=(buffer){described}")
    key = Gst.Buffer.new_wrapped((7).to_bytes(length_bytes, "big") + bytes([0x65, 1, 2, 3, 4, 5, 6]))
    assert stands_alone(key, caps)


def test_times_that_begin_anew_or_stand_still_mark_nothing_for_ever() -> None:
    state, late = LossState(), 2 * HEALED_AFTER_NS
    joined = [PLAIN, replace(KEY, pts_ns=100 * S), replace(PLAIN, pts_ns=1 * S), replace(PLAIN, pts_ns=90 * S)]
    assert [state.update(replace(one, pts_ns=one.pts_ns or 99 * S)) for one in joined] == [True, False, False, False]
    assert state.update(replace(GAP, pts_ns=100 * S, at_ns=S))
    assert not state.update(replace(PLAIN, pts_ns=1 * S, at_ns=S + late))


def test_other_codecs_key_pictures_all_stand_alone() -> None:
    assert stands_alone(buffer_of(0), Gst.Caps.from_string("image/jpeg"))
    assert stands_alone(buffer_of(0), None)


FRAMES, GROUP, LOST = 240, 40, 4
"""Pictures in all and between two key pictures; packets that are lost in each of three runs."""
MOVING = "videotestsrc pattern=ball num-buffers={count} ! video/x-raw,format=I420,width=320,height=240,framerate=25/1"
X264 = "x264enc key-int-max=40 speed-preset=ultrafast bitrate=2000 threads=1"
PACKETS = "h264parse ! rtph264pay mtu=400 config-interval=-1 ! identity name=network"
H265 = "h265parse ! rtph265pay mtu=400 config-interval=-1 ! identity name=network"


@dataclass(frozen=True)
class Camera:
    """How one kind of camera encodes."""

    encoder: str
    way: str = PACKETS


# Every encoder gives the same pictures again: whole and harmed ones come from two runs.
CAMERAS = {
    "one slice": Camera(f"{X264} bframes=0"),
    "B-frames": Camera(f"{X264} bframes=2 b-adapt=false"),
    "open groups": Camera(f'{X264} bframes=2 b-adapt=false option-string="open-gop=1"'),
    "eight slices": Camera(f'{X264} bframes=0 option-string="slices=8"'),
    "sliced threads": Camera("x264enc key-int-max=40 speed-preset=ultrafast pass=quant tune=zerolatency threads=4"),
    "rolling refresh": Camera(f"{X264} bframes=0 intra-refresh=true"),
    "H.265": Camera("x265enc key-int-max=40 speed-preset=ultrafast bitrate=2000", H265),
}


def decoded(camera: Camera, lost: frozenset[int] = frozenset(), count: int = FRAMES) -> list[tuple[int, str, bool]]:
    """(PTS, digest of the pixels, whether it is marked) of a moving picture, without the packets of these numbers."""
    launch = f"{MOVING.format(count=count)} ! {camera.encoder} ! {camera.way} ! decodebin name=decode"
    session = GstSession(Launch(f"{launch} ! video/x-raw,format=I420 ! appsink name=frames sync=false max-buffers=2"))
    numbers = iter(range(10**9))

    def drop(_pad: Any, _info: Any) -> Any:
        return Gst.PadProbeReturn.DROP if next(numbers) in lost else Gst.PadProbeReturn.OK

    session._pipeline.get_by_name("network").get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, drop)
    session.start()
    try:
        return list(_pictures(session))
    finally:
        session.stop()


def _pictures(session: GstSession) -> Any:
    while not session.is_drained:
        sample = session.pull(0.1)
        if sample is not None:
            buffer = sample.get_buffer()
            yield buffer.pts, _digest(buffer), is_damaged(buffer)


def _digest(buffer: Any) -> str:
    _, mapped = buffer.map(Gst.MapFlags.READ)
    try:
        return hashlib.sha256(mapped.data).hexdigest()
    finally:
        buffer.unmap(mapped)


def _changes(whole: list[str], harmed: list[str]) -> list[bool]:
    """Whether each harmed one is no picture of the whole ones that comes after those already shown: a repeat is none.

    Not by time: when the packet that ends a picture is lost, the pictures around it change theirs.
    """
    shown, told = 0, list[bool]()
    for digest in harmed:
        is_whole = digest in whole[shown:]
        shown = whole.index(digest, shown) + 1 if is_whole else shown
        told.append(not is_whole)
    return told


@pytest.mark.parametrize("name", CAMERAS)
def test_every_picture_that_a_loss_has_changed_is_marked_and_few_others(name: str) -> None:
    camera = CAMERAS[name]
    if not element_exists(camera.encoder.split()[0]):
        pytest.skip(f"{camera.encoder.split()[0]} is not installed")
    whole = decoded(camera)
    assert len(whole) == FRAMES
    assert [pts for pts, _, marked in whole if marked] == []
    changed = marked = missed = 0
    for seed in range(3):
        harmed = decoded(camera, frozenset(random.Random(seed).sample(range(20, 1500), LOST)))
        is_changed = _changes([digest for _, digest, _ in whole], [digest for _, digest, _ in harmed])
        changed += sum(is_changed)
        marked += sum(mark for *_, mark in harmed)
        missed += sum(one and not mark for one, (*_, mark) in zip(is_changed, harmed, strict=True))
    print(name, "changed", changed, "marked", marked, "missed", missed)
    assert changed > 0, "the loss has changed nothing: nothing is proven"
    assert missed == 0
    assert marked <= 3 * LOST * GROUP, "a lost packet costs a group of pictures, on the whole"
