from __future__ import annotations

import pytest

from stream.errors import MissingPartError
from stream.gst.codecs import DECODERS, ENCODERS, EncoderRow, decoder_ranks, pick_encoder

ORDER = ("nvv4l2h264enc", "nvh264enc", "vah264enc", "vaapih264enc", "v4l2h264enc", "x264enc", "openh264enc")


def test_hardware_encoders_come_before_software() -> None:
    assert tuple(row.element for row in ENCODERS) == ORDER


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_the_first_encoder_that_works_is_taken(place: int) -> None:
    assert pick_encoder(lambda name: ORDER.index(name) >= place).element == ORDER[place]


def test_no_encoder_is_an_error_that_names_the_package() -> None:
    with pytest.raises(MissingPartError, match=r"gstreamer1\.0-plugins-ugly"):
        pick_encoder(lambda _: False)


@pytest.mark.parametrize("row", ENCODERS, ids=lambda row: row.element)
def test_every_row_fills_its_blanks_for_live_and_file(row: EncoderRow) -> None:
    for line in (row.launch("live", kbps=1234, gop=17), row.launch("file", kbps=1234, gop=17)):
        assert row.element in line
        assert "1234" in line
        assert "17" in line
        assert not set("{}") & set(line)


def test_live_x264_delays_nothing() -> None:
    live = pick_encoder(lambda name: name == "x264enc").launch("live")
    assert "tune=zerolatency" in live
    assert "bframes=0" in live


def test_jetsons_encoder_gets_its_frames_in_its_own_memory() -> None:
    assert ENCODERS[0].launch("live").startswith("nvvidconv ! video/x-raw(memory:NVMM)")


def test_decoders_are_ranked_in_the_tables_order() -> None:
    ranks = decoder_ranks(lambda _: True, 512)
    assert list(ranks) == [row.element for row in DECODERS]
    assert list(ranks.values()) == sorted(ranks.values(), reverse=True)
    assert ranks["nvv4l2decoder"] == 512


def test_absent_decoders_get_no_rank() -> None:
    assert set(decoder_ranks(lambda name: name == "avdec_h264", 512)) == {"avdec_h264"}


def test_every_hardware_decoder_stands_above_every_other() -> None:
    kinds = [row.is_hardware for row in DECODERS]
    assert kinds == sorted(kinds, reverse=True)
