from __future__ import annotations

import itertools

import numpy as np
import pytest

from engines.preprocess import rgb_from_yuv444
from stream.overlay.palette import (
    LOOKS,
    PAPER,
    PAPER_OPACITY,
    QUIET_TEXT,
    REASONS,
    STATE_COLOURS,
    TEXT,
    Rgb,
    yuv_from_rgb,
)
from stream.types import QualityReason, StreamState, Verdict


def luminance(rgb: Rgb) -> float:
    """WCAG 2.1 relative luminance."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Rgb, other: Rgb) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def panel_over(background: int) -> Rgb:
    red, green, blue = (round(p * PAPER_OPACITY + background * (1 - PAPER_OPACITY)) for p in PAPER)
    return red, green, blue


@pytest.mark.parametrize("background", [0, 128, 255], ids=["on black", "on grey", "on white"])
@pytest.mark.parametrize("text", [TEXT, QUIET_TEXT])
def test_text_has_contrast_whatever_is_behind_the_panel(text: Rgb, background: int) -> None:
    assert contrast(text, panel_over(background)) >= 4.5


@pytest.mark.parametrize("background", [0, 255], ids=["on black", "on white"])
@pytest.mark.parametrize("verdict", Verdict)
def test_verdict_colours_stand_out_from_the_panel(verdict: Verdict, background: int) -> None:
    assert contrast(LOOKS[verdict].rgb, panel_over(background)) >= 3.0


def test_no_two_verdicts_share_a_word_or_an_icon() -> None:
    for one, other in itertools.combinations(LOOKS.values(), 2):
        assert one.word != other.word
        assert one.icon != other.icon


def test_real_unsure_and_fake_differ_in_the_shape_of_their_frame() -> None:
    shapes = {LOOKS[verdict].frame for verdict in (Verdict.REAL, Verdict.UNSURE, Verdict.FAKE)}
    assert len(shapes) == 3


def test_every_reason_and_state_can_be_shown() -> None:
    assert set(REASONS) == set(QualityReason)
    assert set(STATE_COLOURS) == set(StreamState)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("rgb", [(255, 92, 80), (52, 211, 138), (255, 255, 255), (13, 17, 23)])
def test_a_colour_survives_the_way_to_yuv_and_back(rgb: Rgb, matrix: str, full_range: bool) -> None:
    yuv = np.array([[yuv_from_rgb(rgb, matrix, full_range)]], np.uint8)
    back = rgb_from_yuv444(yuv, matrix, full_range)[0, 0]
    assert np.abs(back.astype(int) - rgb).max() <= 3
