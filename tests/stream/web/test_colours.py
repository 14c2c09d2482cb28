"""Text on the page can be read by those who see little: WCAG 2.2's contrast, by its own formula, in both schemes."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("stream.web") / "static" / "style.css").read_text()
DARK_AT = STYLE.index("@media (prefers-color-scheme: dark)")
READABLE = 4.5
PAIRS = [
    *((ink, ground) for ink in ("ink", "quiet", "accent") for ground in ("ground", "paper", "sunk")),
    *(
        (verdict, ground)
        for verdict in ("fake", "unsure", "real", "warming")
        for ground in ("paper", f"{verdict}-soft")
    ),
    ("paper", "fake"),
    ("accent-ink", "accent"),
    ("paper", "ink"),
]


def colours_of(scheme: str) -> dict[str, tuple[int, ...]]:
    text = STYLE[:DARK_AT] if scheme == "light" else STYLE[DARK_AT:]
    found = re.findall(r"--([a-z-]+): #([0-9a-f]{6});", text)
    return {name: tuple(bytes.fromhex(value)) for name, value in found}


def luminance(rgb: tuple[int, ...]) -> float:
    """Relative luminance (WCAG 2.2, "relative luminance")."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(scheme: str) -> None:
    colours = colours_of(scheme)
    ratios = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in PAIRS}
    assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < READABLE} == {}


def test_the_formula_is_the_standards() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
