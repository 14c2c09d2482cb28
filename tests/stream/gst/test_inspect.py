"""What the doctor is told of GStreamer here, and that its table of packages is whole."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from stream.gst.codecs import DECODERS, ENCODERS
from stream.gst.launch import source_launch
from stream.gst.packages import CORE, PACKAGES
from stream.sources.uri import SourceUri, parse_source
from tests.stream.gst.drawing_parts import need_gst

need_gst()

from stream.gst.inspect import inspect_gst, window_sink  # noqa: E402
from stream.gst.session import element_exists, element_runs  # noqa: E402

KNOWN = {name for row in PACKAGES for name in row.elements} | set(CORE)
PLATFORM = {"nvvidconv", "nvarguscamerasrc"}
"""Come with JetPack, by no package of the table."""
SOURCES = ("webcam", "rtsp://h/p", "https://h/a.mp4", "https://h/a.m3u8", "clip.mp4", "screen", "test", "csi:0")


def elements_of(text: str) -> set[str]:
    """Element names of a launch line: the first word of each part that is not caps."""
    words = (part.split()[0] for part in re.sub(r'"[^"]*"', "", text).split("!"))
    return {word for word in words if "/" not in word and "." not in word}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("environment", [{"DISPLAY": ":0"}, {"WAYLAND_DISPLAY": "wayland-0"}])
def test_every_element_that_reads_a_source_is_in_the_table(source: str, environment: dict[str, str]) -> None:
    uri: SourceUri = parse_source(source)
    used = elements_of(source_launch(uri, lambda _: True, environment).text)
    if source == "screen" and "DISPLAY" in environment:
        used -= {"ximagesrc"}  # plugins-good brings it only where it was built for X11
    assert used - PLATFORM <= KNOWN


def test_no_part_is_in_two_packages() -> None:
    counts = Counter(part for row in PACKAGES for part in row.parts)
    assert [part for part, count in counts.items() if count > 1] == []


def test_the_codecs_told_are_ones_that_run() -> None:
    facts = inspect_gst()
    assert facts.encoder in {row.element for row in ENCODERS}
    assert element_runs(str(facts.encoder))
    for decoder in (facts.h264_decoder, facts.h265_decoder):
        assert decoder is None or (decoder in {row.element for row in DECODERS} and element_runs(decoder))


def test_no_decoder_is_told_for_the_other_codec() -> None:
    facts = inspect_gst()
    assert "265" not in str(facts.h264_decoder)
    assert "264" not in str(facts.h265_decoder)


def test_the_parts_told_are_those_that_are_there() -> None:
    facts = inspect_gst()
    for row in PACKAGES:
        for name in row.elements:
            assert (name in facts.parts) is element_exists(name)
    assert {"GstVideo", "appsink"} <= facts.parts


def test_the_version_is_three_numbers() -> None:
    assert re.fullmatch(r"1\.\d+\.\d+", inspect_gst().version)


def test_there_is_no_window_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert window_sink() is None
