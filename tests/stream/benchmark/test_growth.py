"""How cost grows: the sentences and the picture, from made-up points."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from PIL import Image

from stream.benchmark.growth import Curve, Point, draw_chart, explained
from stream.gst.clip_making import ClipShape, shape_launch


def point(at: float, decode: float, embed: float, *, kept: float = 1.0, sampled: float = 1.0) -> Point:
    return Point(at, f"{at:g} faces", {"decode": decode, "embed": embed}, kept, 40.0, 5.0, sampled)


def test_the_sentence_names_the_stage_that_grows() -> None:
    told = explained("faces", [point(1, 2.0, 1.0), point(20, 2.01, 21.0)])
    assert told == (
        "faces: a frame costs 3.00 ms of CPU at 1 faces and 23.01 ms at 20 faces (+20.01 ms: embed +20.00 ms)."
    )


def test_the_sentence_says_when_the_machine_was_full() -> None:
    assert explained("streams", [point(1, 2, 1), point(16, 2, 2, kept=0.7)]).endswith(
        "only 70% of the frames were kept."
    )


@pytest.mark.parametrize("sampled", [0.2, float("nan")])
def test_a_stage_that_was_sampled_less_is_not_called_cheaper(sampled: float) -> None:
    told = explained("streams", [point(1, 2.0, 4.0), point(16, 1.5, 1.0, sampled=sampled)])
    assert "embed -" not in told
    assert "decode -0.50 ms" in told
    assert told.endswith(f"only {sampled:.0%} of the samples were taken: embed did less, at no lower cost.")
    assert "embed -3.00 ms" in explained("streams", [point(1, 2.0, 4.0), point(16, 1.5, 1.0)])


def test_the_chart_shows_every_stage_in_its_colour(tmp_path: Path) -> None:
    curves = [Curve("faces", (point(1, 2, 1), point(20, 2, 21))), Curve("streams", (point(1, 0, 0),))]
    draw_chart(curves, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or ()}
    assert {(0x44, 0x77, 0xAA), (0x66, 0xCC, 0xEE)} <= colours


def test_faces_are_multiplied_on_a_grid_of_one_cut() -> None:
    launch = shape_launch(ClipShape(tiles=20), "x264enc")
    assert launch.count("! queue ! grid.sink_") == 20
    assert "sink_19::xpos=1024 sink_19::ypos=540" in launch
    assert "compositor" not in shape_launch(ClipShape(), "x264enc")
