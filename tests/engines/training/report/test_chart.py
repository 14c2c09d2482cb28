"""Charts are sound XML, stay inside their frame, and need nothing from outside."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.training.report.chart import HEIGHT, WIDTH, Axis, Band, Bars, Line, as_file, chart, ticks_of

UNIT = Axis("x", 0, 1, (0, 0.5, 1))
SVG = "{http://www.w3.org/2000/svg}"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-2, 3), st.floats(-2, 3)), min_size=1, max_size=30))
def test_no_point_leaves_the_picture(points: list[tuple[float, float]]) -> None:
    xs, ys = zip(*points, strict=True)
    svg = ET.fromstring(chart(UNIT, UNIT, [Line(xs, ys, "first", dots=True)], "t"))
    (line,) = svg.iter(f"{SVG}polyline")
    places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    assert all(0 <= px <= WIDTH and 0 <= py <= HEIGHT for px, py in places)


def test_names_are_escaped_and_written_once() -> None:
    svg = chart(UNIT, UNIT, [Line((0, 1), (0, 1), "fake", "a < b & c")], "<title>")
    assert svg.count("a &lt; b &amp; c") == 1
    ET.fromstring(svg)


def test_many_points_are_thinned_and_keep_both_ends() -> None:
    many = [n / 20_000 for n in range(20_001)]
    (line,) = ET.fromstring(chart(UNIT, UNIT, [Line(many, many, "first")], "t")).iter(f"{SVG}polyline")
    places = line.attrib["points"].split()
    assert len(places) < 1300
    assert places[0] != places[-1] == f"{WIDTH - 14},30"


def test_bars_and_bands_are_drawn() -> None:
    svg = ET.fromstring(chart(UNIT, UNIT, [Bars((0, 0.5, 1), (0.2, 0.8), "real"), Band((0, 1), (0, 0), (1, 1))], "t"))
    bars = [rect for rect in svg.iter(f"{SVG}rect") if rect.attrib["class"] == "real"]
    assert float(bars[1].attrib["height"]) == pytest.approx(4 * float(bars[0].attrib["height"]), abs=0.3)
    assert len(list(svg.iter(f"{SVG}polygon"))) == 1


def test_a_chart_alone_brings_its_colours() -> None:
    alone = as_file(chart(UNIT, UNIT, [], "t"))
    assert "prefers-color-scheme:dark" in alone
    ET.fromstring(alone)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)), (0, 100, (0, 20, 40, 60, 80, 100)), (0.31, 0.72, (0.4, 0.5, 0.6, 0.7))],
)
def test_ticks_are_round_numbers_inside(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert ticks_of(low, high) == pytest.approx(ticks)


def test_a_logarithmic_axis_gives_each_decade_the_same_room() -> None:
    axis = Axis("x", 1e-3, 1, (), is_log=True)
    assert [axis.share(value) for value in (1e-3, 1e-2, 1e-1, 1, 0)] == pytest.approx([0, 1 / 3, 2 / 3, 1, 0])
