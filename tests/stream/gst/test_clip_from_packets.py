from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stream.sources.video_parts import need_gst

need_gst()

from gi.repository import Gst  # noqa: E402

from stream.errors import OutputError  # noqa: E402
from stream.gst import clip_from_packets  # noqa: E402
from stream.gst.clip_from_packets import parameter_sets, write_clip  # noqa: E402
from stream.gst.packet_ring import Packet, Packets  # noqa: E402
from stream.gst.session import element_exists  # noqa: E402

RAW = "videotestsrc num-buffers=75 pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate=25/1"
X264 = "x264enc speed-preset=veryfast key-int-max=25"
ENCODERS = {
    "h264": ("x264enc", f"{X264} tune=zerolatency ! h264parse ! video/x-h264,stream-format=avc", ".mp4"),
    "h264 bytes": (
        "x264enc",
        f"{X264} tune=zerolatency ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au",
        ".mp4",
    ),
    "h264 reordered": ("x264enc", f"{X264} bframes=2 b-adapt=false ! h264parse", ".mp4"),
    "h265": (
        "x265enc",
        "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! h265parse"
        " ! video/x-h265,stream-format=byte-stream,alignment=au",
        ".mp4",
    ),
    "jpeg": ("jpegenc", "jpegenc ! jpegparse", ".mkv"),
    "vp8": ("vp8enc", "vp8enc deadline=1 keyframe-max-dist=25", ".webm"),
}


def encoded(encoder: str) -> Packets:
    """All pictures of a made video, as they would enter a decoder."""
    pipeline = Gst.parse_launch(f"{RAW} ! {encoder} ! appsink name=out sync=false")
    out, packets, caps = pipeline.get_by_name("out"), list[Packet](), None
    pipeline.set_state(Gst.State.PLAYING)
    while (sample := out.emit("try-pull-sample", 10 * Gst.SECOND)) is not None:
        buffer, caps = sample.get_buffer(), sample.get_caps()
        is_key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        packets.append(Packet(buffer, len(packets) * 40_000_000, buffer.get_size(), is_key))
    pipeline.set_state(Gst.State.NULL)
    return Packets(caps, tuple(packets), packets[0])


def from_second_group(packets: Packets) -> Packets:
    second = [index for index, packet in enumerate(packets.packets) if packet.is_key][1]
    return replace(packets, packets=packets.packets[second:])


def pictures_in(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def shown_at(path: Path) -> list[float]:
    capture, times = cv2.VideoCapture(str(path)), []
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    return times


def need(element: str) -> None:
    if not element_exists(element):
        pytest.skip(f"GStreamer's {element} is not installed")


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_picture_from_a_key_frame_on_is_in_the_clip_and_plays(tmp_path: Path, kind: str) -> None:
    element, text, suffix = ENCODERS[kind]
    need(element)
    packets = from_second_group(encoded(text))
    written = write_clip(packets, tmp_path, "clip")
    assert written.path == tmp_path / f"clip{suffix}"
    assert pictures_in(written.path) == len(packets.packets)
    assert written.seconds == pytest.approx((len(packets.packets) - 1) / 25, abs=0.05)
    assert [path.name for path in tmp_path.iterdir()] == [written.path.name], "nothing else is left"


def without_decoding_times(packets: Packets) -> Packets:
    for packet in packets.packets:
        packet.buffer.dts = Gst.CLOCK_TIME_NONE
    return packets


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_reordered_pictures_that_do_not_say_when_to_decode_go_where_that_can_be_worked_out_or_need_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    if suffix == ".mp4":
        need("h264timestamper")
    else:
        monkeypatch.setattr(clip_from_packets, "element_exists", lambda _: False)  # as before GStreamer 1.22
    packets = without_decoding_times(encoded(ENCODERS["h264 reordered"][1]))
    times = [packet.buffer.pts for packet in packets.packets]
    assert times != sorted(times), "the encoder was to reorder"
    written = write_clip(packets, tmp_path, "clip")
    assert written.path.suffix == suffix
    assert pictures_in(written.path) == 75
    assert shown_at(written.path) == sorted(shown_at(written.path))


def test_a_clip_begins_at_nought_whatever_the_camera_calls_it(tmp_path: Path) -> None:
    packets = encoded(ENCODERS["h264"][1])
    for packet in packets.packets:
        packet.buffer.pts += 3600 * Gst.SECOND
        packet.buffer.dts += 3600 * Gst.SECOND
    capture = cv2.VideoCapture(str(write_clip(packets, tmp_path, "clip").path))
    capture.grab()
    assert capture.get(cv2.CAP_PROP_POS_MSEC) < 100


def test_the_index_comes_before_the_pictures(tmp_path: Path) -> None:
    data = write_clip(encoded(ENCODERS["h264"][1]), tmp_path, "clip").path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def nothing(packets: Packets) -> Packets:
    return replace(packets, packets=())


def unknown(packets: Packets) -> Packets:
    return replace(packets, caps=Gst.Caps.from_string("video/x-cinepak"))


@pytest.mark.parametrize(
    ("change", "words"),
    [(nothing, "no key frame in time"), (unknown, "video/x-cinepak are kept in no clip")],
)
def test_what_cannot_be_a_clip_is_said_in_one_line(
    tmp_path: Path, change: Callable[[Packets], Packets], words: str
) -> None:
    with pytest.raises(OutputError, match=words):
        write_clip(change(encoded(ENCODERS["h264"][1])), tmp_path, "clip")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="could not be written"):
        write_clip(encoded(ENCODERS["h264"][1]), tmp_path / "gone", "clip")


UNITS = {
    "video/x-h264": (b"\x00\x00\x00\x01\x67sps", b"\x00\x00\x01\x68pps", b"\x00\x00\x01\x65picture"),
    "video/x-h265": (b"\x00\x00\x00\x01\x40vps", b"\x00\x00\x01\x42sps", b"\x00\x00\x01\x26picture"),
}


@pytest.mark.parametrize("codec", UNITS)
def test_parameter_sets_are_found_among_other_units(codec: str) -> None:
    first, second, picture = UNITS[codec]
    assert parameter_sets(first + picture + second + picture, codec) == first + second
    assert parameter_sets(picture, codec) == b""
    assert parameter_sets(b"", codec) == b""
    assert parameter_sets(b"\x00\x00\x01", codec) == b""


@given(picture=st.lists(st.sampled_from([b"\x00", b"\x01", b"\x67", b"\x42", b"\xff"]), max_size=60).map(b"".join))
@pytest.mark.parametrize("codec", UNITS)
def test_whatever_a_camera_sends_its_parameter_sets_are_a_part_of_it(codec: str, picture: bytes) -> None:
    found = parameter_sets(picture, codec)
    assert len(found) <= len(picture)
    assert parameter_sets(found, codec) == found


def test_other_codecs_have_no_parameter_sets() -> None:
    assert parameter_sets(b"".join(UNITS["video/x-h264"]), "image/jpeg") == b""
