"""Charts as SVG text: lines, steps and bars between two axes. Colours are CSS classes, so that a page can be dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 440, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 30, 46
_LETTER_PX = 6.6
_MOST_POINTS = 600

STYLE = """
svg.chart{width:100%;height:auto;display:block;font:12px system-ui,sans-serif}
svg.chart text{fill:var(--quiet)} svg.chart .name{fill:var(--ink)} svg.chart .grid{stroke:var(--line);stroke-width:1}
svg.chart .frame{stroke:var(--quiet);stroke-width:1;fill:none}
svg.chart polyline{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
svg.chart .key{stroke-width:4;stroke-linecap:round;stroke-dasharray:none}
svg.chart .guide{stroke:var(--quiet);stroke-width:1.2;stroke-dasharray:4 4}
svg.chart .fake{stroke:var(--fake)} svg.chart .real{stroke:var(--real)} svg.chart .first{stroke:var(--first)}
svg.chart .second{stroke:var(--second)} svg.chart circle.second{fill:var(--second);stroke:var(--page);stroke-width:1.5}
svg.chart rect.fake{fill:var(--fake);fill-opacity:.45;stroke:none}
svg.chart rect.real{fill:var(--real);fill-opacity:.45;stroke:none}
svg.chart polygon.first{fill:var(--first);fill-opacity:.16;stroke:none}
svg.chart circle.first{fill:var(--first);stroke:var(--page);stroke-width:1.5}
svg.chart circle.fake{fill:var(--fake);stroke:var(--page);stroke-width:1.5}
"""
COLOURS = """
:root{--page:#ffffff;--card:#f6f7f9;--ink:#16202c;--quiet:#5b6876;--line:#dfe4ea;
--fake:#c8452f;--real:#1f7a8c;--first:#3457d5;--second:#b07c10}
@media (prefers-color-scheme:dark){:root{--page:#10151c;--card:#18202a;--ink:#e8edf3;--quiet:#98a5b3;--line:#2b3541;
--fake:#ff7a63;--real:#4fc3d9;--first:#8ba4ff;--second:#e5b454}}
"""


@dataclass(frozen=True)
class Axis:
    """A range with its name and the places of its marks."""

    name: str
    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False
    labels: tuple[str, ...] = ()
    """Of the ticks; empty writes their numbers."""

    def share(self, value: float) -> float:
        """0 at ``low``, 1 at ``high``, held between them."""
        low, high, at = (math.log(max(x, 1e-12)) if self.is_log else x for x in (self.low, self.high, value))
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def texts(self) -> tuple[str, ...]:
        return self.labels or tuple(f"{tick:g}" for tick in self.ticks)


@dataclass(frozen=True)
class Line:
    """Points joined in order."""

    xs: Sequence[float]
    ys: Sequence[float]
    colour: str
    """A class of ``STYLE``: fake, real, first, second or guide."""
    name: str = ""
    dots: bool = False


@dataclass(frozen=True)
class Band:
    """The area between two lines over the same places."""

    xs: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    colour: str = "first"


@dataclass(frozen=True)
class Bars:
    """Columns from the axis up, between the given edges."""

    edges: Sequence[float]
    heights: Sequence[float]
    colour: str
    name: str = ""


Mark = Line | Band | Bars


def chart(x: Axis, y: Axis, marks: Sequence[Mark], title: str) -> str:
    """One <svg>; ``title`` is read out and shown on hovering."""
    drawn = "".join(_mark(mark, x, y) for mark in marks)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(title)}</title>{_grid(x, y)}{drawn}{_legend(marks)}</svg>"
    )


def as_file(svg: str) -> str:
    """The chart as a document of its own."""
    style = f"<style>{COLOURS}{STYLE}svg{{background:var(--page)}}</style>"
    return svg.replace("</title>", f"</title>{style}", 1)


def ticks_of(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Round numbers within a range."""
    raw = max(high - low, 1e-9) / count
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(number * step, 10) for number in range(first, last + 1))


def _at(x: Axis, y: Axis, across: float, up: float) -> tuple[float, float]:
    return (
        round(_LEFT + x.share(across) * (WIDTH - _LEFT - _RIGHT), 1),
        round(HEIGHT - _BOTTOM - y.share(up) * (HEIGHT - _TOP - _BOTTOM), 1),
    )


def _grid(x: Axis, y: Axis) -> str:
    floor, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for tick, text in zip(x.ticks, x.texts(), strict=True):
        px = _at(x, y, tick, y.low)[0]
        parts.append(f'<line class="grid" x1="{px}" x2="{px}" y1="{_TOP}" y2="{floor}"/>')
        end = "end" if px >= right and len(text) > 3 else "middle"
        parts.append(f'<text x="{px}" y="{floor + 16}" text-anchor="{end}">{escape(text)}</text>')
    for tick, text in zip(y.ticks, y.texts(), strict=True):
        py = _at(x, y, x.low, tick)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{py}" y2="{py}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{py + 4}" text-anchor="end">{escape(text)}</text>')
    middle, centre = (_LEFT + right) / 2, (_TOP + floor) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.name)}</text>')
    parts.append(f'<text transform="translate(13 {centre}) rotate(-90)" text-anchor="middle">{escape(y.name)}</text>')
    parts.append(f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{floor - _TOP}"/>')
    return "".join(parts)


def _mark(mark: Mark, x: Axis, y: Axis) -> str:
    if isinstance(mark, Line):
        return _line(mark, x, y)
    if isinstance(mark, Band):
        there = [_at(x, y, *point) for point in zip(mark.xs, mark.highs, strict=True)]
        back = [_at(x, y, *point) for point in zip(mark.xs, mark.lows, strict=True)]
        return f'<polygon class="{mark.colour}" points="{_points([*there, *reversed(back)])}"/>'
    return "".join(
        _bar(mark, _at(x, y, left, height), _at(x, y, right, y.low))
        for left, right, height in zip(mark.edges, mark.edges[1:], mark.heights, strict=False)
    )


def _line(line: Line, x: Axis, y: Axis) -> str:
    places = _thinned([_at(x, y, *point) for point in zip(line.xs, line.ys, strict=True)])
    dots = [f'<circle class="{line.colour}" cx="{px}" cy="{py}" r="4"/>' for px, py in places if line.dots]
    return f'<polyline class="{line.colour}" points="{_points(places)}"/>{"".join(dots)}'


def _bar(bars: Bars, top_left: tuple[float, float], bottom_right: tuple[float, float]) -> str:
    width, height = bottom_right[0] - top_left[0], bottom_right[1] - top_left[1]
    return (
        f'<rect class="{bars.colour}" x="{top_left[0]}" y="{top_left[1]}" '
        f'width="{max(width - 0.6, 0.2):.1f}" height="{height:.1f}"/>'
    )


def _thinned(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that differ after rounding, and no more than an eye can tell apart; both ends stay."""
    distinct = [place for number, place in enumerate(places) if number == 0 or place != places[number - 1]]
    step = max(1, len(distinct) // _MOST_POINTS)
    return distinct if step == 1 else [*distinct[:-1:step], distinct[-1]]


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{px:g},{py:g}" for px, py in places)


def _legend(marks: Sequence[Mark]) -> str:
    """Names of the marks that have one, side by side above the frame."""
    named = [mark for mark in marks if not isinstance(mark, Band) and mark.name]
    parts, px = [], float(_LEFT)
    for mark in named:
        parts.append(f'<line class="key {mark.colour}" x1="{px:g}" x2="{px + 18:g}" y1="14" y2="14"/>')
        parts.append(f'<text class="name" x="{px + 24:g}" y="18">{escape(mark.name)}</text>')
        px += 24 + _LETTER_PX * len(mark.name) + 20
    return "".join(parts)
