from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import MissingPartError
from stream.gst.codecs import decoder_ranks
from stream.gst.launch import Launch, source_launch
from stream.sources.uri import PATTERNS, parse_source

SOURCES = (
    "webcam",
    "rtsp://u:p@cam/x",
    "rtsps://cam/x",
    "http://host/a.mp4",
    "https://host/a.m3u8",
    "clip.mp4",
    "screen:1",
    "test:smpte",
    "csi:0",
)
X11 = {"DISPLAY": ":0"}


def has(*names: str) -> Callable[[str], bool]:
    return lambda name: name in names


def lacks(*names: str) -> Callable[[str], bool]:
    return lambda name: name not in names


def launch_of(text: str, available: Callable[[str], bool] = lacks(), **options: str) -> Launch:  # noqa: B008
    return source_launch(parse_source(text, **options), available, X11)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", SOURCES)
def test_every_line_ends_in_frames_of_a_layout_we_read(text: str) -> None:
    line = launch_of(text).text
    assert "format=(string){I420,NV12}" in line
    assert line.split(" ! ")[-1].startswith("appsink name=frames ")
    assert "name=source" in line.split(" ! ")[0]


@pytest.mark.parametrize("text", SOURCES)
def test_no_frame_is_lost_where_nobody_counts(text: str) -> None:
    """Neither a leaky queue nor a dropping appsink: live frames are dropped in Python, where it is counted."""
    line = launch_of(text).text
    assert "leaky" not in line
    assert "drop=false" in line


@settings(deadline=None)
@given(st.sampled_from(["rtsp://cam/", "http://cam/", "/tmp/"]), st.text(st.characters(codec="utf-8")))
def test_what_a_user_typed_never_becomes_part_of_a_line(prefix: str, typed: str) -> None:
    typed = "Zq7 ! fakesink \"'" + typed.replace("\0", "") + "Zq7"
    uri = parse_source(prefix + (quote(typed) if "://" in prefix else typed), user="Zq7user", password="Zq7pass")
    launch = source_launch(uri, lacks(), X11)
    assert "Zq7" not in launch.text
    assert "Zq7" in " ".join(launch.properties.values())


def test_credentials_show_in_no_text_of_a_launch() -> None:
    launch = launch_of("rtsp://cam/x?key=Zq7", user="Zq7", password="Zq7")
    assert (launch.user, launch.password) == ("Zq7", "Zq7")
    assert "Zq7" not in repr(launch)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_sends_as_it_was_asked_to(transport: str) -> None:
    assert f"protocols={transport}" in launch_of("rtsp://cam/x", transport=transport).text


def test_rtsp_takes_the_picture_and_leaves_the_sound() -> None:
    assert "application/x-rtp,media=(string)video" in launch_of("rtsp://cam/x").text


def test_a_playlist_is_paced_by_its_time_stamps_and_a_download_by_its_reader() -> None:
    assert "sync=true" in launch_of("https://host/a.m3u8").text
    assert "sync=false" in launch_of("https://host/a.mp4").text


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_test_pattern_is_a_property(pattern: str) -> None:
    assert launch_of(f"test:{pattern}").properties == {"pattern": pattern}


def test_frames_in_nvidias_memory_are_fetched_from_there() -> None:
    assert "! nvvidconv !" in launch_of("rtsp://cam/x").text
    assert "! nvvideoconvert !" in launch_of("rtsp://cam/x", lacks("nvvidconv")).text
    assert "! videoconvert !" in launch_of("rtsp://cam/x", lacks("nvvidconv", "nvvideoconvert")).text


@pytest.mark.parametrize(
    ("text", "missing", "advice"),
    [
        ("webcam", "v4l2src", "apt install gstreamer1.0-plugins-good"),
        ("rtsp://cam/x", "rtspsrc", "apt install gstreamer1.0-plugins-good"),
        ("rtsp://cam/x", "h264parse", "apt install gstreamer1.0-plugins-bad"),
        ("http://host/a.mp4", "souphttpsrc", "apt install"),
        ("screen", "ximagesrc", "apt install gstreamer1.0-x"),
        ("csi:0", "nvarguscamerasrc", "JetPack"),
    ],
)
def test_a_missing_element_is_named_with_the_command_that_mends_it(text: str, missing: str, advice: str) -> None:
    with pytest.raises(MissingPartError, match=missing) as caught:
        launch_of(text, lacks(missing))
    assert advice in str(caught.value)


def test_a_screen_needs_a_desktop() -> None:
    with pytest.raises(MissingPartError, match="DISPLAY"):
        source_launch(parse_source("screen"), lacks(), {})


def test_a_wayland_screen_comes_through_pipewire() -> None:
    wayland = {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}
    launch = source_launch(parse_source("screen:42"), lacks(), wayland)
    assert launch.text.startswith("pipewiresrc ")
    assert launch.properties == {"path": "42"}
    with pytest.raises(MissingPartError, match=r"gstreamer1\.0-pipewire"):
        source_launch(parse_source("screen"), lacks("pipewiresrc"), wayland)


JETSON = has(
    "nvarguscamerasrc", "nvvidconv", "nvv4l2decoder", "nvv4l2h264enc", "v4l2src", "rtspsrc", "h264parse", "avdec_h264"
)


def test_a_ribbon_camera_stays_in_nvidias_memory_until_python_needs_it() -> None:
    launch = launch_of("csi:1", JETSON)
    source, caps, download, frames = launch.text.split(" ! ")[:4]
    assert source == "nvarguscamerasrc name=source"
    assert caps.startswith("video/x-raw(memory:NVMM),format=(string)NV12,")
    assert download == "nvvidconv"
    assert frames == "video/x-raw,format=(string){I420,NV12}"  # without a memory feature: system memory
    assert launch.properties == {"sensor-id": "1"}


@pytest.mark.parametrize("text", ["rtsp://cam/x", "clip.mp4", "webcam"])
def test_a_jetson_decodes_by_itself_and_copies_each_frame_once(text: str) -> None:
    line = launch_of(text, JETSON).text
    assert line.count("nvvidconv") == 1
    assert "videoconvert" not in line
    ranks = decoder_ranks(JETSON, 512)
    assert max(ranks, key=lambda name: ranks[name]) == "nvv4l2decoder"
